"""The photos of an evaluation: those of one split, by the data, a splits.csv, or the model's split.csv."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.dataset.read import OWN_SPLITS, SplitRequest, read_dataset
from pipeline.errors import DataError
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.exposure import find_exposure
from pipeline.labelled.equal_photos import warn_of_equal_photos
from pipeline.labelled.read import apply_group_column, apply_split_csv
from pipeline.labelled.splits import LabelledPhoto, resolve_split, warn_of_torn_groups
from pipeline.model.checkpoint import SPLIT_FILE, Checkpoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChosenPhotos:
    """The photos of a data set, and those to evaluate.

    Attributes:
        photos: to evaluate.
        split: their split in words.
        everything: photos of all splits.
        source: of the splits, in words.
    """

    photos: list[LabelledPhoto]
    split: str
    everything: list[LabelledPhoto]
    source: str


def choose_photos(config: EvaluateConfig, checkpoint: Checkpoint) -> ChosenPhotos:
    """Choose the photos to evaluate.

    Args:
        config: the data and the split.
        checkpoint: its split.csv is used for data without splits.

    Raises:
        ConfigError: a results folder without splits needs a rule for groups.
        DataError: the data can't be read, or the split is empty.
    """
    dataset = read_dataset(config, SplitRequest(None, config.seed, needed=config.split != "all"))
    photos, source = dataset.photos, dataset.split_source
    split_file = checkpoint.folder / SPLIT_FILE
    if all(photo.split is None for photo in photos) and split_file.is_file():
        photos, source = apply_split_csv(photos, split_file), "the model's split.csv"
    if config.group is None and all(photo.group is None for photo in photos) and split_file.is_file():
        photos = apply_group_column(photos, split_file)
    warn_of_equal_photos(photos)
    warn_of_torn_groups(photos)
    chosen, split = _choose_split(config, photos, source)
    if dataset.is_results and split != "all" and not config.against:  # a comparison says so of both models
        _warn_about_seen_photos(chosen, checkpoint)
    return ChosenPhotos(chosen, split, photos, source)


def _choose_split(config: EvaluateConfig, photos: list[LabelledPhoto], source: str) -> tuple[list[LabelledPhoto], str]:
    """Return the photos of the split, and the split in words."""
    counts = Counter(photo.split for photo in photos if photo.split is not None)
    split = resolve_split(config.split, counts)
    if split == "all":
        _warn_about_training_photos(counts, source)
        return photos, "all"
    chosen = [photo for photo in photos if photo.split == split]
    if without_split := len(photos) - counts.total():
        log.warning("%d photos are not in %s and are left out; --split all includes them", without_split, source)
    if source != OWN_SPLITS and (in_other_splits := counts.total() - len(chosen)):
        log.info(
            "%d photos have another split by %s and are left out; --split all includes them", in_other_splits, source
        )
    if not chosen:
        existing = ", ".join(sorted(counts)) or "none"
        raise DataError(f"split = {split}: no photo of {config.data} is in it (existing splits: {existing}); use all")
    return chosen, f"{split}, by {source}"


def _warn_about_training_photos(counts: Counter[str], source: str) -> None:
    trained = counts["train"] + counts["validation"]
    if trained:
        log.warning(
            "%d photos are for training by %s: a model looks too good on photos used for its training", trained, source
        )
    elif source != OWN_SPLITS and not counts:
        log.warning(
            "no photo is in %s by its path: the model looks too good on any photos used for its training", source
        )


def _warn_about_seen_photos(photos: Sequence[LabelledPhoto], checkpoint: Checkpoint) -> None:
    exposure = find_exposure(photos, checkpoint)
    if exposure.trained or exposure.chosen:
        log.warning("%s: it looks too good on them", exposure.describe(checkpoint.name))
