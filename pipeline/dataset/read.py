"""Settings -> labelled photos with their groups and sticky splits, from all four layouts.

folder of classes | folder of splits | CSV | results folder with reviews
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.dataset.reviewed import (
    find_input_folder,
    is_results_folder,
    read_class_order,
    read_reviewed_photos,
)
from pipeline.errors import ConfigError
from pipeline.labelled.deal_groups import Shares
from pipeline.labelled.equal_photos import find_equal_photos
from pipeline.labelled.groups import GroupRule, find_groups, parse_group_rule, read_group_column, refuse_similar
from pipeline.labelled.read import find_root, read_labelled_photos
from pipeline.labelled.splits import LabelledPhoto
from pipeline.labelled.sticky_splits import assign_sticky_splits, choose_split_plan
from pipeline.reviews.files import REVIEWS, SPLITS_FILE
from pipeline.settings import GroupedDataSettings

log = logging.getLogger(__name__)

OWN_SPLITS = "the data"


@dataclass(frozen=True)
class SplitRequest:
    """Wishes for new splits.

    Attributes:
        shares: None: those of the splits.csv, or the default.
        seed: for a new splits.csv.
        needed: False: a results folder without a splits.csv may go without splits.
        least_score: of unreviewed photos of a results folder to train on; None: none.
    """

    shares: Shares | None
    seed: int
    needed: bool = True
    least_score: float | None = None


@dataclass(frozen=True)
class Dataset:
    """Labelled photos of any layout.

    Attributes:
        photos: with their groups if these are asked for, except those of `similar`, for which photos must be seen;
            their splits if the data has some or a splits.csv is kept.
        root: the folder where the names start.
        split_source: the source of the splits, in words.
        class_order: names of classes in the order of their ids, may be empty; other classes follow in alphabetical
            order.
        is_results: a results folder.
    """

    photos: list[LabelledPhoto]
    root: Path
    split_source: str = OWN_SPLITS
    class_order: Sequence[str] = ()
    is_results: bool = False


def read_dataset(settings: GroupedDataSettings, request: SplitRequest) -> Dataset:
    """Read the photos of a data set.

    Raises:
        ConfigError: nobody has named a rule for the groups of a results folder, or it does not fit.
        DataError: the data can't be used.
        StoreError, FolderBusyError: a results folder is damaged, or the splits.csv can't be written.
    """
    if is_results_folder(settings.data):
        return _read_results_folder(settings, request)
    if request.least_score is not None:
        raise ConfigError(
            f"also: {settings.data} is not a results folder, so no model has labelled its photos; leave it out"
        )
    photos, root = read_labelled_photos(settings.data), find_root(settings.data)
    rule = parse_group_rule(settings.group) if settings.group else None
    if settings.splits is None:
        if rule is not None and not rule.is_similar:
            photos = _name_groups(photos, rule, settings, root, _find_copies(photos) if rule.is_photo else None)
        return Dataset(photos, root)
    refuse_similar(rule, f"splits = {settings.splits}")
    if any(photo.split for photo in photos):
        raise ConfigError(f"splits = {settings.splits}: {settings.data} has splits of its own; leave --splits out")
    plan = choose_split_plan(settings.splits, rule, request.shares, request.seed, [photo.name for photo in photos])
    photos = assign_sticky_splits(_name_groups(photos, plan.rule, settings, root), settings.splits, plan)
    return Dataset(photos, root, settings.splits.name)


def find_photo_folder(data: Path) -> Path:
    """Return the folder where the names of a data set's photos start."""
    return find_input_folder(data) if is_results_folder(data) else find_root(data)


def _read_results_folder(settings: GroupedDataSettings, request: SplitRequest) -> Dataset:
    data = read_reviewed_photos(settings.data, request.least_score)
    file = settings.splits or settings.data / REVIEWS / SPLITS_FILE
    order = read_class_order(settings.data)
    if not request.needed and settings.group is None and not file.is_file():
        return Dataset(list(data.photos), data.root, class_order=order, is_results=True)
    names = [photo.name for photo in (*data.photos, *data.sure)]
    rule = parse_group_rule(settings.group) if settings.group else None
    refuse_similar(rule, f"{file}")
    plan = choose_split_plan(file, rule, request.shares, request.seed, names)
    reviewed = _name_groups(data.photos, plan.rule, settings, data.root, data.contents)
    photos = assign_sticky_splits(reviewed, file, plan)
    if data.sure:
        # dealt after the reviewed ones, whose classes are known; groups of validation and test are left out
        sure = _name_groups(data.sure, plan.rule, settings, data.root, data.contents)
        dealt = assign_sticky_splits([*reviewed, *sure], file, plan)[len(reviewed) :]
        kept = [photo for photo in dealt if photo.split == "train"]
        log.info("%d unreviewed photos are of validation and test groups and left out", len(dealt) - len(kept))
        photos = [*photos, *kept]
    return Dataset(photos, data.root, f"{REVIEWS}/{file.name}", order, is_results=True)


def _name_groups(
    photos: Sequence[LabelledPhoto], rule: GroupRule, settings: GroupedDataSettings, root: Path,
    contents: Mapping[str, str] | None = None,
) -> list[LabelledPhoto]:  # fmt: skip
    """Set the group of each photo."""
    csv = settings.labels or (settings.data if settings.data.is_file() else None)
    columns = read_group_column(rule, csv, None if csv == settings.data else root)
    groups = find_groups(rule, [photo.name for photo in photos], columns=columns, contents=contents)
    return [replace(photo, group=groups[photo.name]) for photo in photos]


def _find_copies(photos: Sequence[LabelledPhoto]) -> dict[str, str]:
    """Name the first of each group of byte-identical photos, by the names of all."""
    return {photo.name: group[0].name for group in find_equal_photos(photos) for photo in group}
