"""The working folder of an unfinished training: what it trains on, and its photos as pixels."""

import hashlib
import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from pipeline.atomic_files import atomic_write_path
from pipeline.errors import ConfigError, DataError, FolderBusyError, StoppedError
from pipeline.labelled.splits import LabelledPhoto
from pipeline.training.config import FinetuneConfig
from pipeline.training.loop import last_whole_checkpoint
from pipeline.training.pixel_cache import PixelCache, build_pixel_cache

log = logging.getLogger(__name__)

_WORK = ".finetune"  # inside --out, while the training is unfinished
_CHANGED = {"data_digest": "photos or their labels have changed", "model_digest": "the start's files have changed"}


@dataclass(frozen=True)
class CachedSplit:
    """The readable photos of one split.

    Attributes:
        photos: in the data set's order.
        entries: where each one's pixels lie in the cache.
        cache: pixels of the whole split.
    """

    photos: tuple[LabelledPhoto, ...]
    entries: tuple[int, ...]
    cache: PixelCache


@contextmanager
def open_work_folder(config: FinetuneConfig, photos: Sequence[LabelledPhoto], model_digest: str) -> Iterator[Path]:
    """Make the folder of the unfinished training, or find it again; held against other trainings inside the block.

    Raises:
        ConfigError: `--out` holds a finished model, or an unfinished training of other settings or data, or it
            can't be written.
        FolderBusyError: another training holds it.
    """
    work = config.out / _WORK
    identity = {**config.recipe(), "model_digest": model_digest, "data_digest": _digest(photos)}
    file = work / "training.json"
    if not config.overwrite and (config.out / "config.json").is_file() and not file.is_file():
        raise ConfigError(f"out = {config.out}: holds a finished model; name another folder, or --overwrite it")
    lock = FileLock(work / ".lock", blocking=False)
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise FolderBusyError(f"{config.out} is held by another training; wait for it, or name another --out") from None
    except OSError as error:
        raise ConfigError(f"out = {config.out}: can't be written ({error.strerror}); name another folder") from None
    try:
        if file.is_file():
            found = json.loads(file.read_text())
            if found != identity and (config.overwrite or last_whole_checkpoint(work) is None):
                _clear(work)  # wanted so, or nothing was trained yet
            else:
                _check_same(config.out, found, identity)
        with atomic_write_path(file, work) as temporary:
            temporary.write_text(json.dumps(identity, indent=1))
        yield work
    finally:
        lock.release()


def decode_splits(
    photos: Sequence[LabelledPhoto], processors: dict[str, Any], work: Path, stop: Callable[[], bool]
) -> dict[str, CachedSplit]:
    """Decode each split with its image processor, or find it decoded by an earlier sitting; reports what can't be read.

    Raises:
        DataError: none of a split's photos can be read.
        StoppedError: `stop()` said so.
    """
    splits = {}
    for split, processor in processors.items():
        chosen = [photo for photo in photos if photo.split == split]
        cache = _find_or_build(chosen, processor, work / f"{split}.pixels", stop)
        for name, reason in cache.unreadable.items():
            log.warning("left out %s: %s", name, reason)
        if chosen and len(cache.unreadable) == len(chosen):
            name, reason = next(iter(cache.unreadable.items()))
            raise DataError(f"split: no photo of {split!r} can be read, {name} first: {reason}; correct the files")
        entries = [entry for entry, photo in enumerate(chosen) if photo.name not in cache.unreadable]
        splits[split] = CachedSplit(tuple(chosen[entry] for entry in entries), tuple(entries), cache)
    return splits


def _clear(work: Path) -> None:
    """Remove all but the lock, which this training holds."""
    for entry in work.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != ".lock":
            entry.unlink()


def _check_same(out: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    other = [name for name in wanted if found.get(name) != wanted[name]]
    if other:
        named = ", ".join(_CHANGED.get(name, f"{name} was {found.get(name)}, is {wanted[name]}") for name in other[:3])
        raise ConfigError(
            f"out = {out}: holds an unfinished training of other settings or data ({named}); "
            "use the same ones, name another folder, or --overwrite it"
        )


def _digest(photos: Sequence[LabelledPhoto]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for photo in photos:
        try:
            stat = photo.file.stat()
            size, mtime = stat.st_size, stat.st_mtime_ns
        except OSError:  # a dangling link; decoding will say what is wrong with it
            size, mtime = 0, 0
        row = (photo.name, photo.label, photo.weight, photo.split, size, mtime)
        digest.update(repr(row).encode(errors="surrogateescape"))
    return digest.hexdigest()


def _find_or_build(photos: Sequence[LabelledPhoto], processor: Any, file: Path, stop: Callable[[], bool]) -> PixelCache:
    whole = file.with_suffix(".json")  # written when the pixels are whole
    if whole.is_file():
        return PixelCache(file, int(processor.size["height"]), json.loads(whole.read_text()))
    shown = sys.stderr.isatty()
    with tqdm(total=len(photos), desc=f"decoding {file.stem}", unit="img", disable=not shown) as bar:
        cache = build_pixel_cache(photos, processor, file, on_batch=bar.update, stop=stop)
    if cache is None:
        raise StoppedError("stopped while decoding; run the same command again to go on")
    log.info("decoded %d photos for %s, %d unreadable", len(photos), file.stem, len(cache.unreadable))
    with atomic_write_path(whole, whole.parent) as temporary:
        temporary.write_text(json.dumps(cache.unreadable))
    return cache
