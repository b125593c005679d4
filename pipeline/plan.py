"""What is left to do: the files found, minus those that the table has."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipeline.config import RunConfig
from pipeline.maps.methods import BACKWARD, FORWARD
from pipeline.model.checkpoint import Checkpoint
from pipeline.model.targets import Targets
from pipeline.photos.loader import DRAFT_LONGER_SIDE, hash_file
from pipeline.records import ImageRef
from pipeline.results.folder import DoneFile


@dataclass(frozen=True)
class Plan:
    """The files found, by what happens to them.

    Attributes:
        pending: to be processed, sorted by path.
        touched: same content under another mtime; their rows get the new one.
        done: how many need nothing.
    """

    pending: list[ImageRef]
    touched: list[ImageRef]
    done: int


def fingerprint(config: RunConfig, checkpoint: Checkpoint, precision: str, targets: Targets) -> str:
    """A short hash over all that changes the numbers, and nothing that doesn't."""
    decode = "exact" if config.exact_decode else f"draft-{DRAFT_LONGER_SIDE}"
    method, *more = config.method
    heads: list[object] = [config.head_fusion, config.discard_ratio]
    if not set(config.method) & set(FORWARD):
        heads = ["mean", 0.0]  # whatever they are, these methods don't ask
    parts: list[object] = [checkpoint.digest(), config.input_size, config.rescale, method, *heads, precision, decode]
    if more:
        parts.append(sorted(more))
    if set(config.method) & set(BACKWARD):
        parts.append(["expected" if targets.expected else targets.label, targets.versus])
    return _digest(parts)


def photo_fingerprint(fingerprint: str, targets: Targets, path: str) -> str:
    """That of one photo: with the label that is expected of it, where that is what its maps explain."""
    if targets.expected is None:
        return fingerprint
    return _digest([fingerprint, targets.expected.get(path)])


def _digest(parts: list[object]) -> str:
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=6).hexdigest()


def make_plan(
    refs: Sequence[ImageRef],
    done: Mapping[str, DoneFile],
    fingerprint_of: Callable[[str], str],  # by path
    *,
    retry_failed: bool = False,
    limit: int | None = None,
) -> Plan:
    """Decide about each file.

    It is done when its current row has the same fingerprint, size and mtime. Where only the mtime differs,
    the content hash decides. Failed files are done too, unless `retry_failed`.
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
