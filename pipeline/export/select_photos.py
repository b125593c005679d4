"""The photos of a data set fit for a format: labels by people outside train, complete boxes, not too many good ones."""

import hashlib
import math

from pipeline.export.dataset import ExportDataset, ExportPhoto

OUTSIDE_TRAIN = "label of the model, outside train"
BOXES_MISSING = "boxes not complete"
BEYOND_OK_SHARE = "beyond ok-share"


def keep_model_labels_in_train(dataset: ExportDataset) -> ExportDataset:
    """Leave photos labelled by the model out of validation and test: they would only confirm it."""
    outside = [photo for photo in dataset.photos if photo.source == "model" and photo.split != "train"]
    return dataset.leave_out({photo.content_hash: (OUTSIDE_TRAIN, None) for photo in outside})


def select_complete_boxes(dataset: ExportDataset) -> ExportDataset:
    """Leave out photos with boxes still to be drawn.

    A photo of a defect without its box would teach a detector to pass it over.
    """
    return dataset.leave_out(
        {photo.content_hash: (BOXES_MISSING, None) for photo in dataset.photos if not photo.boxes_complete}
    )


def limit_ok_share(dataset: ExportDataset, ok_share: float) -> ExportDataset:
    """Leave out pictures without a defect beyond their share.

    Args:
        dataset: photos with complete boxes, or tiles of them.
        ok_share: at most this share of pictures without a defect in each split. Those with the lowest hash of their
            content stay, so the same ones in every round.
    """
    beyond = {photo.name for photos in dataset.by_split.values() for photo in _find_beyond(photos, ok_share)}
    return dataset.leave_out_pictures(beyond, BEYOND_OK_SHARE)


def _find_beyond(photos: list[ExportPhoto], ok_share: float) -> list[ExportPhoto]:
    """Return the pictures without boxes beyond their share of a split."""
    empty = sorted((photo for photo in photos if not photo.boxes), key=_draw_rank)
    if ok_share == 1:
        return []
    return empty[math.floor(ok_share / (1 - ok_share) * (len(photos) - len(empty)) + 1e-9) :]


def _draw_rank(photo: ExportPhoto) -> bytes:
    part = "" if photo.window is None else f" {photo.window}"
    return hashlib.blake2b(f"{photo.content_hash}{part}".encode(), digest_size=8, salt=b"ok-share").digest()
