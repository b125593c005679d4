"""Which label the maps of each photo explain: names and ids of the settings -> ids, checked before the first photo."""

import csv
import difflib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from pipeline.maps.methods import BACKWARD
from pipeline.model.checkpoint import Checkpoint
from pipeline.records import ImageRef

log = logging.getLogger(__name__)

_NAMED_AT_MOST = 3


@dataclass(frozen=True)
class Targets:
    """The labels to explain, as ids of the model's classes.

    Attributes:
        label: of every photo; None: each photo's most likely one.
        expected: by path, instead; a photo that is not in it can't be explained.
        versus: what they are set against, None: nothing.
    """

    label: int | None = None
    expected: Mapping[str, int] | None = None
    versus: int | None = None

    def label_for(self, path: str) -> int | None:
        """The label of one photo; None: its most likely one."""
        return self.label if self.expected is None else self.expected[path]

    def check(self, refs: Iterable[ImageRef]) -> list[ImageRef]:
        """The same photos; those whose label is expected but missing have that problem."""
        if self.expected is None:
            return list(refs)
        reason = "no label is expected of it: the CSV of --labels doesn't have its path"
        checked = [ref if ref.path in self.expected or ref.problem else replace(ref, problem=reason) for ref in refs]
        if missing := sum(ref.problem == reason for ref in checked):
            log.warning(
                "%d of %d photos are not in the CSV of --labels: they become failed rows", missing, len(checked)
            )
        return checked


def choose_targets(config: RunConfig, checkpoint: Checkpoint, refs: Sequence[ImageRef]) -> Targets:
    """What `target`, `versus` and `labels` mean for this model and these photos.

    Raises:
        ConfigError: names all labels that the model does not have, each with the nearest that it has.
    """
    if not set(config.method) & set(BACKWARD):
        return Targets()
    labels, expected = checkpoint.labels, None
    target = None if config.target in ("top1", "expected") else config.target
    targets, problems = find_targets(target, config.versus, labels)
    if config.labels is not None:
        try:
            expected = read_expected(config.labels, labels)
            if not any(ref.path in expected for ref in refs):
                raise ValueError(f"names no photo of {config.input}; its paths are relative to that folder")
        except ValueError as error:
            problems.append(f"labels = {config.labels}: {error}")
    if problems:
        raise ConfigError(*problems)
    return replace(targets, expected=expected)


def find_targets(target: str | None, versus: str | None, labels: Sequence[str]) -> tuple[Targets, list[str]]:
    """Two labels that somebody typed, as ids, and what is wrong with them; None: the most likely one, and nothing."""
    problems: list[str] = []

    def find(setting: str, text: str | None) -> int | None:
        try:
            return None if text is None else find_label(text, labels)
        except ValueError as error:
            problems.append(f"{setting} = {text}: {error}")
            return None

    found = Targets(find("target", target), versus=find("versus", versus))
    if found.label is not None and found.label == found.versus:
        problems.append(f"versus = {versus}: is the target itself; name another label")
    return found, problems


def find_label(text: str, labels: Sequence[str]) -> int:
    """The id of a label that somebody typed: its name comes first, then one of its synonyms, then its id.

    Args:
        text: `remote control, remote`, or a synonym as `Remote control` in any case, or an id as `761`.
        labels: names by id; ImageNet's list synonyms with commas between them.

    Raises:
        ValueError: there is none, and which are near, or there are several.
    """
    by_name = [index for index, label in enumerate(labels) if label == text]
    by_synonym = [index for index, label in enumerate(labels) if text.casefold() in _synonyms(label)]
    for found in (by_name, by_synonym):
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(f"names {len(found)} classes; give an id: {', '.join(map(str, found))}")
    if text.isdecimal() and int(text) < len(labels):
        return int(text)
    raise ValueError(f"is no class of the model, which knows {', '.join(_nearest(text.casefold(), labels))}")


def _synonyms(label: str) -> list[str]:
    return [name.strip().casefold() for name in label.split(",")]


def _nearest(text: str, labels: Sequence[str]) -> list[str]:
    by_word = [label for label in labels if text and text in label.casefold()]
    label_of = {name: label for label in labels for name in _synonyms(label)}
    by_letters = [label_of[name] for name in difflib.get_close_matches(text, label_of, _NAMED_AT_MOST)]
    near = list(dict.fromkeys([*by_word, *by_letters]))[:_NAMED_AT_MOST]
    return near or [*labels[:_NAMED_AT_MOST], f"... (ids 0 to {len(labels) - 1})"]


def read_expected(file: Path, labels: Sequence[str]) -> dict[str, int]:
    """Label ids by path, out of a CSV with the columns path and expected, or path and label.

    Args:
        file: paths in it are relative to the input folder, as in the table; other columns are ignored.
        labels: the model's class names by id.

    Raises:
        ValueError: it can't be read, or rows are wrong; the first few are named.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            table = csv.DictReader(lines)
            columns, rows = table.fieldnames or [], list(table)
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"can't be read as CSV ({error}); save it as UTF-8") from None
    column = "expected" if "expected" in columns else "label"
    if not {"path", column} <= set(columns):
        raise ValueError(f"needs the columns path and expected (or label), has {', '.join(columns) or 'none'}")
    id_of = cache(partial(find_label, labels=labels))  # many rows, few labels
    expected: dict[str, int] = {}
    wrong = []
    for number, row in enumerate(rows, start=2):
        path, label = Path(row["path"] or "").as_posix(), row[column] or ""  # ./a.png is a.png
        try:
            if path in expected:
                raise ValueError("occurs twice")
            expected[path] = id_of(label)
        except ValueError as error:
            wrong.append(f"line {number} ({path}, {label!r}) {error}")
    if wrong:
        more = f"; and {len(wrong) - _NAMED_AT_MOST} more lines" if len(wrong) > _NAMED_AT_MOST else ""
        raise ValueError("; ".join(wrong[:_NAMED_AT_MOST]) + more)
    return expected
