"""The labels to explain: names and ids in the settings -> ids of the model's classes."""

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from pipeline.decision import class_ids
from pipeline.errors import DataError
from pipeline.labelled.csv_paths import name_csv_path
from pipeline.labelled.good_labels import GOOD_LABELS, is_good_label

DEFECTS, GOOD = "defects", "good"  # words for groups of classes; a class of the model with such a name goes first
_LISTED_AT_MOST = 3


@dataclass(frozen=True)
class LabelGroup:
    """Classes explained together, often just one.

    Attributes:
        ids: of the model's classes, at least one.
        name: of the group, `defects` or `good`; None: a single class under its own name.
    """

    ids: tuple[int, ...]
    name: str | None = None

    def name_among(self, class_names: Sequence[str]) -> str:
        """Return the word for the group in a table or a figure."""
        return self.name or class_names[self.ids[0]]


@dataclass(frozen=True)
class Targets:
    """The labels to explain, as ids of the model's classes.

    Attributes:
        label: explained for every photo; None for each photo's most likely one.
        expected: label by path, used instead of `label`; photos without an entry can't be explained.
        versus: labels to set against it, or None.
    """

    label: LabelGroup | None = None
    expected: dict[str, int] | None = None
    versus: LabelGroup | None = None

    @property
    def label_ids(self) -> tuple[int, ...]:
        """Ids of the classes explained for every photo; empty for a label of each photo's own."""
        return self.label.ids if self.label else ()

    @property
    def versus_ids(self) -> tuple[int, ...]:
        """Ids of the classes to set against them; empty for none."""
        return self.versus.ids if self.versus else ()

    def label_for(self, path: str) -> int | None:
        """Return the label expected of one photo; None: the one of all photos, or its most likely one."""
        return None if self.expected is None else self.expected[path]

    def name_labels(self, explained: int | None, class_names: Sequence[str]) -> tuple[str | None, str | None]:
        """Return the words for the explained labels and for those set against them; None for none.

        Args:
            explained: id of the label explained in a photo, see `pipeline.records.Prediction`.
            class_names: the model's, by id.
        """
        if self.label is None and explained is None:  # a map of attention alone
            return None, None
        label = self.label or LabelGroup((explained or 0,))
        return label.name_among(class_names), self.versus.name_among(class_names) if self.versus else None


def find_targets(
    target: str | None,
    versus: str | None,
    class_names: Sequence[str],
    positive: Sequence[str] = (),
    saved_positive: Collection[str] = (),
) -> tuple[Targets, list[str]]:
    """Resolve two labels typed by a user.

    Args:
        target: a label, or `defects`, or None for the most likely one.
        versus: a label, or `good` against the target `defects`, or None.
        class_names: the model's, by id.
        positive, saved_positive: for `defects`, see `find_defects`.

    Returns:
        The targets, and the problems with them.
    """
    problems: list[str] = []
    label = against = None
    is_defects = _is_group_word(target, DEFECTS, class_names)
    try:
        if is_defects:
            label = LabelGroup(find_defects(class_names, positive, saved_positive), DEFECTS)
        elif target is not None:
            label = LabelGroup((find_label(target, class_names),))
            if positive:
                raise ValueError("is a class of the model, so positive has no effect; leave it out")
    except ValueError as error:
        problems.append(f"target = {target}: {error}")
    try:
        if versus is not None and not (is_defects and label is None):  # without defects, nothing is left to judge
            against = _find_versus(versus, label, class_names)
    except ValueError as error:
        problems.append(f"versus = {versus}: {error}")
    return Targets(label, versus=against), problems


def _find_versus(text: str, label: LabelGroup | None, class_names: Sequence[str]) -> LabelGroup:
    """Resolve the label to set against another one, or all classes but the defects.

    Raises:
        ValueError: there is no such label, or it is part of the other one.
    """
    if _is_group_word(text, GOOD, class_names):
        if label is None or label.name != DEFECTS:
            raise ValueError(f"stands for all classes but the defects, so it needs target = {DEFECTS}; name a class")
        others = (label_id for label_id in range(len(class_names)) if label_id not in label.ids)
        return LabelGroup(tuple(others), GOOD)
    found = find_label(text, class_names)
    if label and found in label.ids:
        part = "the target itself" if label.name is None else f"one of the {label.name}"
        raise ValueError(f"is {part}; name another label")
    return LabelGroup((found,))


def find_defects(
    class_names: Sequence[str], positive: Sequence[str] = (), saved_positive: Collection[str] = ()
) -> tuple[int, ...]:
    """Find the ids of the classes counted as defects.

    Args:
        class_names: the model's, by id.
        positive: labels typed by a user; empty: those of the decision.
        saved_positive: class names of the model's decision; empty: all but usual names for "no defect".

    Raises:
        ValueError: a label is unknown, no class is a defect, or all are.
    """
    if positive:
        ids = sorted({_find_positive(text, class_names) for text in positive})
    elif saved_positive:
        ids = class_ids(class_names, saved_positive)
    else:
        ids = [label_id for label_id, name in enumerate(class_names) if not is_good_label(name)]
    if not 0 < len(ids) < len(class_names):
        reason = f"no class is called {', '.join(GOOD_LABELS)}" if ids else "no class counts as a defect"
        if positive and ids:
            reason = "all classes count as defects"
        known = ", ".join(class_names[:_LISTED_AT_MOST]) + (", ..." if len(class_names) > _LISTED_AT_MOST else "")
        raise ValueError(f"{reason}, so nothing tells defects from good; name the defects with --positive ({known})")
    return tuple(ids)


def _find_positive(text: str, class_names: Sequence[str]) -> int:
    try:
        return find_label(text, class_names)
    except ValueError as error:
        raise ValueError(f"positive: {text} {error}") from None


def _is_group_word(text: str | None, word: str, class_names: Sequence[str]) -> bool:
    """Tell whether a label typed by a user is the word for a group, and not the name of a class."""
    return text == word and not any(word in _split_synonyms(name) for name in class_names)


def find_label(text: str, class_names: Sequence[str]) -> int:
    """Find the id of a label typed by a user: by its name first, then by one of its synonyms, then as an id.

    Args:
        text: `remote control, remote`, or a synonym such as `Remote control` in any case, or an id such as `761`.
        class_names: by id; ImageNet's list synonyms with commas between them.

    Raises:
        ValueError: there is no such label (names the nearest), or there are several.
    """
    by_name = [index for index, name in enumerate(class_names) if name == text]
    by_synonym = [index for index, name in enumerate(class_names) if text.casefold() in _split_synonyms(name)]
    for matches in (by_name, by_synonym):
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise ValueError(f"names {len(matches)} classes; give an id: {', '.join(map(str, matches))}")
    if text.isdecimal() and int(text) < len(class_names):
        return int(text)
    nearest = ", ".join(_nearest_names(text.casefold(), class_names))
    raise ValueError(f"is not a class of the model, which knows {nearest}")


def read_expected(file: Path, class_names: Sequence[str], folder: Path) -> dict[str, int]:
    """Read label ids by path from a CSV with the columns path and expected, or path and label.

    Args:
        file: paths in it are relative to the input folder, as in the table, or absolute; other columns are ignored.
        class_names: the model's, by id.
        folder: the input folder.

    Raises:
        DataError: it can't be read, or rows are wrong; names the first few.
    """
    from pipeline.labelled.csv_table import read_table  # imports pandas, half a second for every other run

    table = read_table(file)
    column = "expected" if "expected" in table else "label"
    if not {"path", column} <= set(table):
        raise DataError(f"{file}: needs the columns path and expected (or label), has {', '.join(table.columns)}")
    id_of = cache(partial(find_label, class_names=class_names))  # many rows, few labels
    expected: dict[str, int] = {}
    problems = []
    for line, (path, label) in enumerate(zip(table["path"], table[column], strict=True), start=2):
        path = name_csv_path(path, folder)  # ./a.png is a.png
        try:
            if path in expected:
                raise ValueError("occurs twice")
            expected[path] = id_of(label)
        except ValueError as error:
            problems.append(f"line {line} ({path}, {label!r}) {error}")
    if problems:
        more = f"; and {len(problems) - _LISTED_AT_MOST} more lines" if len(problems) > _LISTED_AT_MOST else ""
        raise DataError(f"{file}: " + "; ".join(problems[:_LISTED_AT_MOST]) + more)
    return expected


def _split_synonyms(name: str) -> list[str]:
    return [synonym.strip().casefold() for synonym in name.split(",")]


def _nearest_names(text: str, class_names: Sequence[str]) -> list[str]:
    by_word = [name for name in class_names if text and text in name.casefold()]
    name_of = {synonym: name for name in class_names for synonym in _split_synonyms(name)}
    by_letters = [name_of[synonym] for synonym in difflib.get_close_matches(text, name_of, _LISTED_AT_MOST)]
    near = list(dict.fromkeys([*by_word, *by_letters]))[:_LISTED_AT_MOST]
    return near or [*class_names[:_LISTED_AT_MOST], f"... (ids 0 to {len(class_names) - 1})"]
