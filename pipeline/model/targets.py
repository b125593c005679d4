"""The labels to explain: names and ids in the settings -> ids of the model's classes."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from pipeline.errors import DataError
from pipeline.labelled.csv_paths import name_csv_path

_LISTED_AT_MOST = 3


@dataclass(frozen=True)
class Targets:
    """The labels to explain, as ids of the model's classes.

    Attributes:
        label: explained for every photo; None for each photo's most likely one.
        expected: label by path, used instead of `label`; photos without an entry can't be explained.
        versus: label to set against it, or None.
    """

    label: int | None = None
    expected: dict[str, int] | None = None
    versus: int | None = None

    def label_for(self, path: str) -> int | None:
        """Return the label of one photo; None: its most likely one."""
        return self.label if self.expected is None else self.expected[path]


def find_targets(target: str | None, versus: str | None, class_names: Sequence[str]) -> tuple[Targets, list[str]]:
    """Resolve two labels typed by a user.

    Args:
        target: a label, or None for the most likely one.
        versus: a label, or None.
        class_names: the model's, by id.

    Returns:
        The targets, and the problems with them.
    """
    problems: list[str] = []

    def resolve_label(setting: str, text: str | None) -> int | None:
        try:
            return None if text is None else find_label(text, class_names)
        except ValueError as error:
            problems.append(f"{setting} = {text}: {error}")
            return None

    targets = Targets(resolve_label("target", target), versus=resolve_label("versus", versus))
    if targets.label is not None and targets.label == targets.versus:
        problems.append(f"versus = {versus}: is the target itself; name another label")
    return targets, problems


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
