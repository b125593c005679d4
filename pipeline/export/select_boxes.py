"""The photos fit for training a detector: every defect has its box, and not too many have none."""

import hashlib
import math

from pipeline.export.dataset import ExportDataset, ExportPhoto

BOXES_MISSING = "boxes not complete"
BEYOND_OK_SHARE = "beyond ok-share"


def select_complete_boxes(dataset: ExportDataset, ok_share: float) -> ExportDataset:
    """Leave out photos with boxes still to be drawn, and photos without a defect beyond their share.

    A photo of a defect without its box would teach a detector to pass it over.

    Args:
        dataset: all photos.
        ok_share: at most this share of photos without a defect in each split. Those with the lowest hash of their
            content stay, so the same ones in every round.
    """
    dataset = dataset.leave_out(
        {photo.content_hash: (BOXES_MISSING, None) for photo in dataset.photos if not photo.boxes_complete}
    )
    beyond = [photo for photos in dataset.by_split.values() for photo in _find_beyond(photos, ok_share)]
    return dataset.leave_out({photo.content_hash: (BEYOND_OK_SHARE, None) for photo in beyond})


def _find_beyond(photos: list[ExportPhoto], ok_share: float) -> list[ExportPhoto]:
    """Return the photos without boxes beyond their share of a split."""
    empty = sorted((photo for photo in photos if not photo.boxes), key=lambda photo: _draw_rank(photo.content_hash))
    if ok_share == 1:
        return []
    return empty[math.floor(ok_share / (1 - ok_share) * (len(photos) - len(empty)) + 1e-9) :]


def _draw_rank(content_hash: str) -> bytes:
    return hashlib.blake2b(content_hash.encode(), digest_size=8, salt=b"ok-share").digest()
