"""Checkpoints of an unfinished training: one file each, complete or absent."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from pipeline.atomic_files import TEMPORARY_NAME, atomic_write_path

CHECKPOINT_FORMAT = 3  # 2: without averaged weights; 1: the folders of transformers' Trainer

_KEPT_CHECKPOINTS = 2
_CHECKPOINT_NAME = re.compile(r"checkpoint-(\d+)\.pt")


def save_checkpoint(work: Path, step: int, contents: dict[str, Any]) -> None:
    """Save a checkpoint, then remove all but the newest two.

    Args:
        work: working folder of the training.
        step: number of steps trained.
        contents: tensors, numbers, texts, and lists and dictionaries of them.

    Raises:
        StoreError: the disk is full, or the folder can't be written.
    """
    with _writing_file(work / f"checkpoint-{step}.pt") as temporary:
        torch.save(contents, temporary)
    for file in _list_checkpoints(work)[:-_KEPT_CHECKPOINTS]:
        file.unlink()


def load_newest_checkpoint(work: Path) -> dict[str, Any] | None:
    """Load the contents of the newest checkpoint, all tensors on the CPU; None if there is none."""
    files = _list_checkpoints(work)
    if not files:
        return None
    contents: dict[str, Any] = torch.load(files[-1], map_location="cpu", weights_only=True)
    return contents


def save_weights(model: Any, file: Path) -> None:
    """Save the weights under the names of the model's modules.

    Raises:
        StoreError: the disk is full, or the folder can't be written.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with _writing_file(file) as temporary:
        save_file(weights, temporary)


def has_checkpoints(work: Path) -> bool:
    """Return True if the folder holds a checkpoint, also of an earlier version."""
    return any(work.glob("checkpoint-*"))


def remove_partial_files(work: Path) -> None:
    """Remove the temporary files of a process killed while saving."""
    for file in work.iterdir():
        if TEMPORARY_NAME.fullmatch(file.name):
            file.unlink()


def _list_checkpoints(work: Path) -> list[Path]:
    """List the checkpoints, oldest first."""
    names = filter(None, (_CHECKPOINT_NAME.fullmatch(file.name) for file in work.iterdir()))
    return [work / name[0] for name in sorted(names, key=lambda name: int(name[1]))]


@contextmanager
def _writing_file(file: Path) -> Iterator[Path]:
    """Yield a temporary path as `atomic_write_path` does. torch and safetensors report a full disk in their own way."""
    with atomic_write_path(file, file.parent) as temporary:
        try:
            yield temporary
        except (RuntimeError, SafetensorError) as error:
            raise OSError(None, str(error)) from error
