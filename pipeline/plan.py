"""The work left to do: the files found, minus the files with a current row in the table."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from pipeline.config import RunConfig
from pipeline.errors import ConfigError, DataError
from pipeline.maps.methods import ATTENTION_METHODS, LABEL_METHODS
from pipeline.model.checkpoint import Checkpoint
from pipeline.model.targets import Targets, find_targets, read_expected
from pipeline.photos.loader import DRAFT_LONGER_SIDE, hash_file
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
        touched: files with the same content under another mtime; their rows get the new mtime.
        done: number of files with nothing to do.
    """

    pending: list[ImageRef]
    touched: list[ImageRef]
    done: int


def choose_targets(config: RunConfig, checkpoint: Checkpoint, refs: Sequence[ImageRef]) -> Targets:
    """Resolve the settings `target`, `versus` and `labels` for this model and these photos.

    Raises:
        ConfigError: names all labels unknown to the model, each with the nearest known one.
    """
    if not set(config.method) & set(LABEL_METHODS):
        return Targets()
    expected = None
    target = None if config.target in ("top1", "expected") else config.target
    targets, problems = find_targets(target, config.versus, checkpoint.labels)
    if config.labels is not None:
        try:
            expected = read_expected(config.labels, checkpoint.labels)
            if not any(ref.path in expected for ref in refs):
                raise DataError(
                    f"{config.labels}: names no photo of {config.input}; paths must be relative to that folder"
                )
        except DataError as error:
            problems.append(f"labels = {error}")
    if problems:
        raise ConfigError(*problems)
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
        parts.append(["expected" if targets.expected else targets.label, targets.versus])
    parts += [[name, value] for name, value in values.items() if value != defaults[name]]
    return _hash_parts(parts)


def photo_fingerprint(fingerprint: str, targets: Targets, path: str) -> str:
    """Return the fingerprint of one photo, with its expected label if its maps explain that."""
    if targets.expected is None:
        return fingerprint
    return _hash_parts([fingerprint, targets.expected.get(path)])


def make_plan(
    refs: Sequence[ImageRef],
    done: Mapping[str, DoneFile],
    fingerprint_of: Callable[[str], str],  # by path
    *,
    retry_failed: bool = False,
    limit: int | None = None,
) -> Plan:
    """Decide about each file.

    It is done if its current row has the same fingerprint, size and mtime. If only the mtime differs, the content
    hash decides. Failed files count as done too, without `retry_failed`.
    """
    pending: list[ImageRef] = []
    suspects: list[ImageRef] = []
    finished = 0
    for ref in refs:
        row = done.get(ref.path)
        if (
            row is None
            or row.fingerprint != fingerprint_of(ref.path)
            or row.file_bytes != ref.file_bytes
            or (row.failed and retry_failed)
        ):
            pending.append(ref)
        elif row.mtime_ns != ref.mtime_ns:
            suspects.append(ref)
        else:
            finished += 1
    with ThreadPoolExecutor() as threads:  # hashing and reading release the interpreter lock
        hashes = list(threads.map(hash_file, suspects))
    touched: list[ImageRef] = []
    for ref, content_hash in zip(suspects, hashes, strict=True):
        unchanged = content_hash is not None and content_hash == done[ref.path].content_hash
        (touched if unchanged else pending).append(ref)
    pending.sort(key=lambda ref: ref.path)
    return Plan(pending[:limit], touched, finished)


def _hash_parts(parts: list[Any]) -> str:
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=6).hexdigest()
