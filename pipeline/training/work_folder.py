"""The working folder of an unfinished training, bound to its settings and data."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.atomic_files import atomic_write_path
from pipeline.errors import ConfigError
from pipeline.folder_lock import LOCK_NAME, FolderLock
from pipeline.labelled.splits import LabelledPhoto
from pipeline.training.checkpoints import CHECKPOINT_FORMAT, has_checkpoints, remove_partial_files
from pipeline.training.config import FinetuneConfig

_FOLDER_NAME = ".finetune"  # inside --out, until the training is finished
_DIFFERENCES = {
    "checkpoint_format": "another version of vitrollout began it",
    "data_digest": "photos, their labels, groups or splits have changed",
    "model_digest": "the files of the starting model have changed",
}


@contextmanager
def open_work_folder(config: FinetuneConfig, photos: Sequence[LabelledPhoto], model_digest: str) -> Iterator[Path]:
    """Create the folder of a training, or open that of an unfinished one; hold it against other trainings.

    Args:
        config: all settings.
        photos: all photos, with their splits.
        model_digest: digest of the starting model's files.

    Raises:
        ConfigError: `--out` holds a finished model, or an unfinished training with other settings or data, or is not
            writable.
        FolderBusyError: another training holds the folder.
    """
    work = config.out / _FOLDER_NAME
    identity_file = work / "training.json"
    if not config.overwrite and (config.out / "config.json").is_file() and not identity_file.is_file():
        raise ConfigError(f"out = {config.out}: holds a finished model; name another folder, or --overwrite it")
    lock = _lock_folder(work)
    try:
        identity = {
            "checkpoint_format": CHECKPOINT_FORMAT,
            **config.identity(),
            "model_digest": model_digest,
            "data_digest": _digest_photos(photos),
        }
        if identity_file.is_file():
            _reuse_folder(work, json.loads(identity_file.read_text()), identity, config)
        with atomic_write_path(identity_file, work) as temporary:
            temporary.write_text(json.dumps(identity, indent=1))
        yield work
    finally:
        lock.release()


def _lock_folder(work: Path) -> FolderLock:
    """Create the folder where it is missing, and lock it."""
    lock = FolderLock(work, busy=f"{work.parent} is held by another training; wait for it, or name another --out")
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise ConfigError(f"out = {work.parent}: can't be written ({error.strerror}); name another folder") from None
    return lock


def _reuse_folder(work: Path, saved: dict[str, Any], identity: dict[str, Any], config: FinetuneConfig) -> None:
    """Keep the folder of an equal training, clear one that may go, refuse all others."""
    remove_partial_files(work)
    differing = [name for name in identity if saved.get(name) != identity[name]]
    if not differing:
        return
    if config.overwrite or not has_checkpoints(work):
        _clear_folder(work)
        return
    listed = ", ".join(
        _DIFFERENCES.get(name, f"{name} was {saved.get(name)}, is {identity[name]}") for name in differing[:3]
    )
    raise ConfigError(
        f"out = {config.out}: holds an unfinished training with other settings or data ({listed}); "
        "use the same ones, name another folder, or --overwrite it"
    )


def _clear_folder(work: Path) -> None:
    """Remove everything but the lock held by this training."""
    for entry in work.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif not entry.name.startswith(LOCK_NAME):
            entry.unlink()


def _digest_photos(photos: Sequence[LabelledPhoto]) -> str:
    """Digest names, labels, weights, splits, groups, sizes and mtimes of the photos."""
    digest = hashlib.blake2b(digest_size=16)
    for photo in photos:
        try:
            status = photo.file.stat()
            size, mtime = status.st_size, status.st_mtime_ns
        except OSError:  # a dangling link; decoding it will say more
            size, mtime = 0, 0
        row = (photo.name, photo.label, photo.weight, photo.split, photo.group, size, mtime)
        digest.update(repr(row).encode(errors="surrogateescape"))
    return digest.hexdigest()
