"""Splits for good: a group of photos gets its split once, in a splits.csv, and later rounds only add groups."""

import csv
import io
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.atomic_files import atomic_write_path, cannot_write
from pipeline.errors import ConfigError, DataError, one_line
from pipeline.folder_lock import FolderLock
from pipeline.labelled.csv_table import SPLITS
from pipeline.labelled.deal_groups import DEFAULT_SHARES, Shares, count_groups, deal_groups
from pipeline.labelled.groups import GroupRule, explain_group_rules
from pipeline.labelled.splits import LabelledPhoto
from pipeline.reviews.record import current_moment

log = logging.getLogger(__name__)

_COLUMNS = ["group", "split", "since"]
_LOCK_SECONDS = 10.0


@dataclass(frozen=True)
class SplitPlan:
    """How groups are made and dealt.

    Attributes:
        rule: from photos to groups.
        shares: of train, validation and test.
        seed: of the order in which equal groups are dealt.
    """

    rule: GroupRule
    shares: Shares = DEFAULT_SHARES
    seed: int = 0

    def as_json(self) -> dict[str, object]:
        """Convert to plain values: the first line of a splits.csv."""
        return {"group": self.rule.text, "shares": list(self.shares), "seed": self.seed}


@dataclass(frozen=True)
class StickySplits:
    """The content of a splits.csv.

    Attributes:
        plan: of its first round.
        splits: split of each group.
        since: time of each group's addition, ISO 8601, UTC.
    """

    plan: SplitPlan
    splits: Mapping[str, str]
    since: Mapping[str, str]


def choose_split_plan(
    file: Path | None, rule: GroupRule | None, shares: Shares | None, seed: int, names: Sequence[str]
) -> SplitPlan:
    """Choose the plan: that of the splits.csv if there is one, else of the settings.

    Args:
        file: the splits.csv, which may be missing; None: none is kept.
        rule: None: not given by the user.
        shares: None: not given by the user.
        seed: of a new plan; a splits.csv keeps its own.
        names: of the photos, for a proposal.

    Raises:
        ConfigError: the settings differ from the plan of the splits.csv, or nobody has named a rule.
        DataError: the splits.csv is damaged.
    """
    saved = read_sticky_splits(file) if file else None
    if saved is None:
        if rule is None:
            raise ConfigError(
                f"group: not given, and splits would tear families of photos: {explain_group_rules(names)}"
            )
        return SplitPlan(rule, shares or DEFAULT_SHARES, seed)
    for name, given, kept in (
        ("group", rule and rule.text, saved.plan.rule.text),
        ("shares", shares and _format_shares(shares), _format_shares(saved.plan.shares)),
    ):
        if given is not None and given != kept:
            raise ConfigError(
                f"{name} = {given}: {file} was dealt with {name} = {kept}, and its groups keep their splits; leave the "
                "option out, or move that file away to start over (photos then change sides)"
            )
    return saved.plan


def assign_sticky_splits(photos: Sequence[LabelledPhoto], file: Path, plan: SplitPlan) -> list[LabelledPhoto]:
    """Give each photo the split of its group, new groups dealt and added to the splits.csv.

    Args:
        photos: with their groups.
        file, plan: as in `extend_sticky_splits`, with the same errors.
    """
    counts = count_groups((photo.group or "" for photo in photos), (photo.label for photo in photos))
    splits = extend_sticky_splits(file, plan, counts)
    return [replace(photo, split=splits[photo.group or ""]) for photo in photos]


def extend_sticky_splits(file: Path, plan: SplitPlan, counts: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    """Deal the groups not in a splits.csv yet and add them; return the splits of all groups.

    Args:
        file: the splits.csv; created where it is missing, with its folder.
        plan: from `choose_split_plan`.
        counts: photos of every group by class, see `count_groups`.

    Raises:
        ConfigError: somebody else has begun the file with another plan meanwhile.
        DataError: the file is damaged.
        StoreError: it can't be written.
        FolderBusyError: somebody else is writing it and does not finish.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(file.parent, busy=f"{file} is being written; try again", seconds=_LOCK_SECONDS)
        lock.acquire()
    except OSError as error:
        raise cannot_write(file, error) from error
    try:
        saved = read_sticky_splits(file) or StickySplits(plan, {}, {})
        choose_split_plan(file, plan.rule, plan.shares, plan.seed, ())
        dealt = deal_groups(counts, saved.splits, plan.shares, saved.plan.seed)
        if dealt:
            now = current_moment().isoformat(timespec="seconds")
            since = {**saved.since, **dict.fromkeys(dealt, now)}
            _write_splits(file, StickySplits(saved.plan, {**saved.splits, **dealt}, since))
            _log_dealt(file, dealt, counts)
        return {**saved.splits, **dealt}
    finally:
        lock.release()


def read_sticky_splits(file: Path) -> StickySplits | None:
    """Read a splits.csv; None if there is none.

    Raises:
        DataError: it is damaged.
    """
    try:
        text = file.read_text(encoding="utf-8")
        head, _, body = text.partition("\n")
        settings = json.loads(head.removeprefix("#"))
        train, validation, test = map(float, settings["shares"])
        plan = SplitPlan(GroupRule(str(settings["group"])), (train, validation, test), int(settings["seed"]))
        header, *rows = csv.reader(io.StringIO(body, newline=""))
        if header != _COLUMNS:
            raise ValueError(f"columns are not {', '.join(_COLUMNS)}")
        splits, since = {}, {}
        for group, split, moment in rows:
            if split not in SPLITS or group in splits:
                raise ValueError(f"group {group!r} stands twice, or has no split")
            splits[group], since[group] = split, moment
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, OSError, csv.Error) as error:
        raise DataError(f"{file}: can't be read ({one_line(error, 200)}); correct it, or restore it") from None
    return StickySplits(plan, splits, since)


def _write_splits(file: Path, content: StickySplits) -> None:
    text = io.StringIO(newline="")
    text.write(f"# {json.dumps(content.plan.as_json())}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows((group, split, content.since[group]) for group, split in content.splits.items())
    with atomic_write_path(file, file.parent) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")


def _log_dealt(file: Path, dealt: Mapping[str, str], counts: Mapping[str, Mapping[str, int]]) -> None:
    groups, photos = Counter(dealt.values()), Counter[str]()
    for group, split in dealt.items():
        photos[split] += sum(counts[group].values())
    listed = ", ".join(f"{split} {groups[split]} ({photos[split]} photos)" for split in SPLITS)
    log.info("%s: %d new groups: %s", file, len(dealt), listed)


def _format_shares(shares: Shares) -> str:
    return ",".join(f"{share:g}" for share in shares)
