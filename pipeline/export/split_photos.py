"""The group and the split of each exported photo, from the results folder's splits.csv."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.dataset.reviewed import find_input_folder
from pipeline.export.config import ExportConfig
from pipeline.export.known_labels import LabelledRow
from pipeline.labelled.deal_groups import count_groups
from pipeline.labelled.groups import find_groups, parse_group_rule, read_group_column, refuse_similar
from pipeline.labelled.sticky_splits import SplitPlan, choose_split_plan, extend_sticky_splits
from pipeline.reviews.files import REVIEWS, SPLITS_FILE


@dataclass(frozen=True)
class PhotoSplit:
    """Group and split of one photo."""

    group: str
    split: str


def split_photos(config: ExportConfig, photos: Sequence[LabelledRow]) -> tuple[SplitPlan, dict[str, PhotoSplit]]:
    """Return the plan of the splits, and group and split by path; new groups get theirs for good.

    Raises:
        ConfigError: nobody has named a rule for groups, or it does not fit.
        DataError: splits.csv or the CSV of groups can't be read.
        StoreError: splits.csv can't be written.
    """
    file = config.results / REVIEWS / SPLITS_FILE
    names = [photo.row.path for photo in photos]
    rule = None if config.group is None else parse_group_rule(config.group)
    refuse_similar(rule, f"{file}")
    plan = choose_split_plan(file, rule, config.shares, config.seed, names)
    columns = read_group_column(plan.rule, config.labels, find_input_folder(config.results))
    contents = {photo.row.path: str(photo.row.content_hash) for photo in photos}
    groups = find_groups(plan.rule, names, columns=columns, contents=contents)
    # first the photos labelled by people, whose classes are known
    for chosen in ([photo for photo in photos if photo.known.source != "model"], photos):
        counts = count_groups((groups[photo.row.path] for photo in chosen), (photo.known.label for photo in chosen))
        splits = extend_sticky_splits(file, plan, counts)
    return plan, {name: PhotoSplit(groups[name], splits[groups[name]]) for name in names}
