"""The work left to do: the files found, minus the files with a current row in the table."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from pipeline.config import RunConfig
from pipeline.decision import without_decision
from pipeline.errors import ConfigError, DataError
from pipeline.labelled.csv_paths import match_names
from pipeline.maps.methods import ATTENTION_METHODS, LABEL_METHODS
from pipeline.model.checkpoint import Checkpoint
from pipeline.model.targets import Targets, find_targets, read_expected
from pipeline.photos.decode import rules_version
from pipeline.photos.discover import Discovery, Selection, discover
from pipeline.photos.left_out import format_left_out
from pipeline.photos.loader import DRAFT_LONGER_SIDE, hash_file
from pipeline.planning.plan_schema import PLAN_SCHEMA
from pipeline.records import ImageRef
from pipeline.results.read import DoneFile

# The settings of the first version, in its order: tables of all versions stay current. Later settings are appended.
_FIRST_SETTINGS = (
    "model", "input_size", "rescale", "method", "head_fusion", "discard_ratio", "precision", "exact_decode"
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """The files found, sorted by the work they need.

    Attributes:
        pending: files to process, sorted by path.
        touched: files with the same content under another mtime, or another decision; their rows are rewritten.
        done: number of files with nothing to do.
        new: number of files without a row.
        changed: number of files with other bytes than in their row.
        failed_before: paths of files with a failed row.
        gone: number of rows without a file.
        clashing: paths of pending files with names indistinguishable from others on some disks.
        sampled: paths of pending files in the sample of the setting `overlays`.
        rows: the current rows, by path.
        rejudged: number of files of `touched` with another decision than in their row.
    """

    pending: list[ImageRef]
    touched: list[ImageRef]
    done: int
    new: int = 0
    changed: int = 0
    failed_before: frozenset[str] = frozenset()
    gone: int = 0
    clashing: frozenset[str] = frozenset()
    sampled: frozenset[str] = frozenset()
    rejudged: int = 0
    rows: Mapping[str, DoneFile] = field(default_factory=dict)

    @property
    def has_work(self) -> bool:
        """Whether any row will be written."""
        return bool(self.pending or self.touched)

    def as_table(self, targets: Targets) -> pa.Table:
        """Return the pending photos as a table of `PLAN_SCHEMA`."""
        expected = targets.expected or {}
        return pa.Table.from_pylist(
            [
                {
                    "path": ref.path,
                    "path_bytes": ref.path_bytes,
                    "file_bytes": ref.file_bytes,
                    "mtime_ns": ref.mtime_ns,
                    "problem": ref.problem,
                    "failed_before": ref.path in self.failed_before,
                    "clashes": ref.path in self.clashing,
                    "expected": expected.get(ref.path),
                    "sampled": ref.path in self.sampled,
                }
                for ref in self.pending
            ],
            PLAN_SCHEMA,
        )

    def describe(self) -> str:
        """Return the counts for the log."""
        pending = len(self.pending)
        rejudged = f" ({self.rejudged} under another decision)" if self.rejudged else ""
        return (
            f"{self.new} new, {self.changed} changed, {self.done + len(self.touched)} the same{rejudged}, "
            f"{self.gone} gone; {len(self.failed_before)} failed before; {pending} to process"
        )

    def count_standing(self, processed: int) -> int:
        """Count the failed rows from earlier runs left after processing the first so many pending files."""
        return len(self.failed_before) - sum(ref.path in self.failed_before for ref in self.pending[:processed])


def find_photos(config: RunConfig) -> Discovery:
    """Find the photos of a run's input folder.

    Raises:
        ConfigError: there are none.
    """
    selection = Selection(config.pattern, config.exclude, config.hidden, config.follow_links)
    photos = discover(config.input, selection, skip=config.out)
    if photos.refs:
        return photos
    if photos.unreadable:
        name, reason = next(iter(photos.unreadable.items()))
        raise ConfigError(f"no photos in {config.input}: folder {name} can't be read ({reason})")
    matching = f" matching {config.pattern}" if config.pattern else ""
    left_out = f" (left out: {format_left_out(photos.left_out)})" if photos.left_out else ""
    raise ConfigError(
        f"no photos in {config.input}{matching}{left_out}; vitrollout run --help lists what counts as a photo"
    )


def choose_targets(config: RunConfig, checkpoint: Checkpoint) -> Targets:
    """Resolve the settings `target` and `versus` for this model.

    For target = expected, the targets have no labels yet: see `expect_labels`.

    Raises:
        ConfigError: names all labels unknown to the model, each with the nearest known one.
    """
    if not set(config.method) & set(LABEL_METHODS):
        return Targets()
    target = None if config.target in ("top1", "expected") else config.target
    targets, problems = find_targets(target, config.versus, checkpoint.labels)
    if config.labels is not None:
        targets = replace(targets, expected={})
        if problems:
            try:
                read_expected(config.labels, checkpoint.labels, config.input)
            except DataError as error:
                problems.append(f"labels = {error}")
    if problems:
        raise ConfigError(*problems)
    return targets


def expect_labels(config: RunConfig, checkpoint: Checkpoint, targets: Targets, refs: Sequence[ImageRef]) -> Targets:
    """Read the labels expected of these photos, for target = expected.

    Raises:
        ConfigError: the setting `labels` names a CSV that can't be used.
    """
    if targets.expected is None or config.labels is None:
        return targets
    try:
        expected = read_expected(config.labels, checkpoint.labels, config.input)
        expected = match_names(expected, [ref.path for ref in refs])
        if not any(ref.path in expected for ref in refs):
            raise DataError(f"{config.labels}: names no photo of {config.input}; paths must be relative to that folder")
    except DataError as error:
        raise ConfigError(f"labels = {error}") from None
    return replace(targets, expected=expected)


def fingerprint(config: RunConfig, checkpoint: Checkpoint, precision: str, targets: Targets) -> str:
    """Hash all settings with an effect on the numbers, and nothing else.

    The settings are the fields declared with `changes_numbers`. Names in them are resolved: a model to the digest of
    its files, labels to ids.
    """
    method, *more_methods = config.method
    values = {name: getattr(config, name) for name in config.fingerprint_fields()} | {
        "model": checkpoint.digest(),
        "method": method,
        "precision": precision,
        "exact_decode": "exact" if config.exact_decode else f"draft-{DRAFT_LONGER_SIDE}",
    }
    # a setting unused by all methods of the run counts as its default
    explains_labels = bool(set(config.method) & set(LABEL_METHODS))
    is_used = {
        "always": True,
        "attention maps": bool(set(config.method) & set(ATTENTION_METHODS)),
        "label maps": explains_labels,
    }
    defaults = {name: RunConfig.model_fields[name].default for name in values}
    for name, when in config.fingerprint_fields().items():
        if not is_used[when]:
            values[name] = defaults[name]
    parts: list[Any] = [values.pop(name) for name in _FIRST_SETTINGS]
    if more_methods:
        parts.append(sorted(more_methods))
    for name in (
        "target",
        "versus",
        "labels",
    ):  # in `targets`; photo_fingerprint adds a photo's expected label
        values.pop(name)
    if explains_labels:
        parts.append(["expected" if targets.expected is not None else targets.label, targets.versus])
    parts += [[name, value] for name, value in values.items() if value != defaults[name]]
    return _hash_parts(parts)


def photo_fingerprint(fingerprint: str, targets: Targets, path: str) -> str:
    """Return the fingerprint of one photo, with its expected label if its maps explain that."""
    version = rules_version(path)
    if version > 1:
        fingerprint = _hash_parts([fingerprint, "decoding", version])
    if targets.expected is None:
        return fingerprint
    return _hash_parts([fingerprint, targets.expected.get(path)])


def make_plan(
    refs: Sequence[ImageRef],
    done: Mapping[str, DoneFile],
    fingerprint_of: Callable[[str], str],  # by path
    *,
    retry_failed: bool = False,
) -> Plan:
    """Decide about each file.

    It is done if its current row has the same fingerprint, size and mtime. If only the mtime differs, the content
    hash decides. If only the decision's part of the fingerprint differs, the row is judged again by its logits. A
    failed file counts as done too, without `retry_failed`, if its bytes decided that: a fault of the machine says
    nothing about the photo, and the photo gets another attempt.
    """
    pending: list[ImageRef] = []
    touched: list[ImageRef] = []
    suspects: list[ImageRef] = []
    new = changed = finished = 0
    for ref in refs:
        row = done.get(ref.path)
        if row is None:
            new += 1
            pending.append(ref)
        elif row.file_bytes != ref.file_bytes:
            changed += 1
            pending.append(ref)
        elif without_decision(row.fingerprint) != without_decision(fingerprint_of(ref.path)) or (
            row.failed and (retry_failed or not _is_settled(row, ref))
        ):
            pending.append(ref)
        elif row.mtime_ns != ref.mtime_ns:
            suspects.append(ref)
        elif row.fingerprint != fingerprint_of(ref.path):
            touched.append(ref)
        else:
            finished += 1
    with ThreadPoolExecutor() as threads:  # hashing and reading release the interpreter lock
        hashes = list(threads.map(_hash_regular_file, suspects))
    for ref, content_hash in zip(suspects, hashes, strict=True):
        unchanged = content_hash is not None and content_hash == done[ref.path].content_hash
        (touched if unchanged else pending).append(ref)
        changed += not unchanged
    pending.sort(key=lambda ref: ref.path)
    failed_before = frozenset(ref.path for ref in refs if ref.path in done and done[ref.path].failed)
    rejudged = sum(done[ref.path].fingerprint != fingerprint_of(ref.path) for ref in touched)
    return Plan(pending, touched, finished, new, changed, failed_before, rejudged=rejudged)


def _is_settled(row: DoneFile, ref: ImageRef) -> bool:
    """Tell whether another attempt at a failed file would end the same, by its bytes or its kind."""
    return row.content_hash is not None or (ref.problem is not None and ref.problem == row.error)


def _hash_regular_file(ref: ImageRef) -> str | None:
    return None if ref.problem else hash_file(ref)  # a pipe would wait for a writer


def _hash_parts(parts: list[Any]) -> str:
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=6).hexdigest()
