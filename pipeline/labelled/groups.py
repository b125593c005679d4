"""Groups of photos for one side of a split: the photos of one board, one video, one site."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.labelled.boxes import has_boxes
from pipeline.labelled.csv_paths import match_names
from pipeline.labelled.csv_table import check_column, list_some, read_paths

_COLUMN = "column:"
_PHOTO = "photo"
SIMILAR = "similar"
_RULES = "'REGEX', column:NAME, photo or similar"
# Ways to name families of photos, tried in this order: board-12_03.png, and board-12/03.png.
_USUAL_RULES = (r"(.+)[-_ ][^/]*$", r"(.+)/")
_FEWEST_GROUPS = 3
_LARGEST_SHARE = 1 / 50  # of the photos, in an average group; folders of classes are larger


@dataclass(frozen=True)
class GroupRule:
    """A rule from photos to groups.

    Attributes:
        text: as given by the user: a regular expression on the path, `column:NAME`, `photo`, or `similar`.
    """

    text: str

    @property
    def column(self) -> str | None:
        """Name of the CSV column with the groups, or None."""
        return self.text.removeprefix(_COLUMN) if self.text.startswith(_COLUMN) else None

    @property
    def is_photo(self) -> bool:
        """True if every photo is a group of its own."""
        return self.text == _PHOTO

    @property
    def is_similar(self) -> bool:
        """True if photos that look alike to a model are a group: see `similar_photos`."""
        return self.text == SIMILAR


def parse_group_rule(text: str) -> GroupRule:
    """Parse `'REGEX' | column:NAME | photo | similar`.

    Raises:
        ValueError: says what to write.
    """
    rule = GroupRule(text)
    if rule.column is not None and not rule.column.strip():
        raise ValueError("names no column; write column:NAME")
    if rule.column is None and not rule.is_photo and not rule.is_similar:
        try:
            is_empty = re.compile(text).match("") is not None
        except re.error as error:
            raise ValueError(f"is not a regular expression ({error}); write {_RULES}") from None
        if is_empty:
            raise ValueError(f"matches an empty path, so all photos could be one group; write {_RULES}")
    return rule


def find_groups(
    rule: GroupRule, names: Sequence[str], *, columns: Mapping[str, str] | None = None,
    contents: Mapping[str, str] | None = None,
) -> dict[str, str]:  # fmt: skip
    """Return the group of each photo by its name.

    Args:
        rule: the rule.
        names: paths of the photos, as in the data set.
        columns: values of the rule's column by name, from `read_group_column`.
        contents: content hashes by name: under the rule `photo`, copies of a photo are one group, and a photo moved
            to another folder stays in its group. Without them the name is the group.

    Raises:
        ConfigError: some photos have no group, or the rule needs a model.
    """
    refuse_similar(rule, "this command")
    if rule.is_photo:
        return {name: (contents or {}).get(name, name) for name in names}
    if rule.column is not None:
        groups = match_names(columns or {}, names)
        reason, step = f"no value in the column {rule.column!r} for", "fill it in"
    else:
        groups = _match_paths(rule.text, names)
        reason, step = "does not match", "write an expression matching every path"
    if missing := [name for name in names if not groups.get(name)]:
        raise ConfigError(
            f"group = {rule.text}: {reason} {len(missing)} of {len(names)} photos ({list_some(missing)}); {step}"
        )
    return {name: groups[name] for name in names}


def refuse_similar(rule: GroupRule | None, place: str) -> None:
    """Refuse the rule `similar` where groups must hold for good, or no model has seen the photos.

    Args:
        rule: None: none is given.
        place: the command or the file in question.

    Raises:
        ConfigError: says which commands take it.
    """
    if rule is not None and rule.is_similar:
        raise ConfigError(
            f"group = similar: not possible for {place}: such groups change with every photo that comes in; give "
            "'REGEX', column:NAME or photo. finetune and evaluate take it for a folder or a CSV without --splits, and "
            "the split.csv of the model then holds the groups: --group column:group --labels MODEL/split.csv"
        )


def read_group_column(rule: GroupRule, file: Path | None, folder: Path | None = None) -> dict[str, str] | None:
    """Read the groups in a column of a CSV by the photos' names; None for a rule without a column.

    Args:
        rule: the rule.
        file: a CSV with the columns path and that of the rule.
        folder: relative paths start here; None: as in other CSVs of labelled photos.

    Raises:
        ConfigError: a column needs a CSV.
        DataError: it can't be read or lacks the column.
    """
    if rule.column is None:
        return None
    if file is None:
        raise ConfigError(
            f"group = {rule.text}: needs a CSV with the columns path and {rule.column}; name it: --labels"
        )
    table = read_paths(file, folder, rule.column)
    if has_boxes(table):  # a photo has a row for each
        table = table.drop_duplicates(["path", rule.column])
    check_column(file, table["path"], table["path"].duplicated(), "path occurs twice")
    return dict(zip(table["path"], table[rule.column].str.strip(), strict=True))


def explain_group_rules(names: Sequence[str]) -> str:
    """Explain the three answers to the question for groups, with a proposal where the paths show a pattern."""
    answers = (
        "--group 'REGEX' on the path (its first capture is the group), --group column:NAME of a CSV (--labels), or "
        "--group photo if no two photos show the same object"
    )
    proposal = propose_group_rule(names)
    if proposal is None:
        return answers
    groups = _match_paths(proposal.text, names)
    examples = list_some(map(repr, list(dict.fromkeys(groups.values()))[:3]))
    return f"{answers}; the paths suggest --group '{proposal.text}': {len(set(groups.values()))} groups ({examples})"


def propose_group_rule(names: Sequence[str]) -> GroupRule | None:
    """Propose a rule for paths with an obvious pattern: many families of two photos or more; None without any."""
    for text in _USUAL_RULES:
        sizes = Counter(_match_paths(text, names).values())
        in_families = sum(size for size in sizes.values() if size > 1)
        are_families = sizes.total() == len(names) and in_families > len(names) / 2
        if are_families and len(sizes) >= max(_FEWEST_GROUPS, len(names) * _LARGEST_SHARE):
            return GroupRule(text)
    return None


def _match_paths(pattern: str, names: Sequence[str]) -> dict[str, str]:
    """Return the first capture, or the whole match, of each matching path."""
    compiled = re.compile(pattern)
    found = {name: match for name in names if (match := compiled.search(name))}
    return {name: group for name, match in found.items() if (group := match[1 if compiled.groups else 0])}
