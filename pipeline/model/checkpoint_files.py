"""The files of a checkpoint's folder: those that transformers opens, and no others."""

import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import Any

from safetensors import safe_open

from pipeline.errors import ModelError

ADAPTER_CONFIG = "adapter_config.json"
# in the order of transformers: the first one of a folder is loaded, the others are left alone
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_LFS_POINTER = b"version https://git-lfs"
_FEW_BITS = ("I8", "U8", "I4", "U4", "F8", "F6", "F4")  # types of safetensors
_PIECE = 2**20  # bytes hashed at once


def list_weight_files(folder: Path, config: Mapping[str, Any]) -> list[Path]:
    """List the files of the weights: one file, or the parts named in an index.

    Args:
        folder: the checkpoint's.
        config: its config.json, which may name another file.

    Raises:
        ValueError: the index can't be read.
    """
    named = config.get("transformers_weights")
    names = (named,) if isinstance(named, str) else WEIGHTS
    first = next((folder / name for name in names if (folder / name).is_file()), None)
    if first is None:
        return []
    return _read_index(first) if first.name.endswith(".index.json") else [first]


def list_adapter_files(folder: Path) -> list[Path]:
    """List the files of an adapter beside the weights, which peft adds to them; none without one."""
    if not (folder / ADAPTER_CONFIG).is_file():
        return []
    weights = [folder / name for name in _ADAPTER_WEIGHTS if (folder / name).is_file()]
    return [folder / ADAPTER_CONFIG, *weights[:1]]


def is_lfs_pointer(file: Path) -> bool:
    """Tell whether a file is only git-lfs's note of where the file is; False if it can't be read."""
    try:
        with file.open("rb") as stream:
            return stream.read(len(_LFS_POINTER)) == _LFS_POINTER
    except OSError:
        return False


def find_quantised_kind(file: Path) -> str | None:
    """Return the type of the first weight of few bits in a safetensors file; None without one.

    Loading would cast them, without their scales. None for damaged files too: loading says what is wrong with them.
    """
    if file.suffix != ".safetensors":
        return None
    try:
        with safe_open(file, framework="numpy") as weights:
            kinds = (weights.get_slice(name).get_dtype() for name in weights.keys())  # noqa: SIM118 - not a dict
            return next((kind for kind in kinds if kind.startswith(_FEW_BITS)), None)
    except Exception:
        return None


def hash_pieces(file: Path) -> list[bytes]:
    """Hash each piece of a file on all cores: weights are large, and a run waits for this."""
    with file.open("rb") as stream, ThreadPoolExecutor() as threads:
        descriptor = stream.fileno()
        starts = range(0, os.fstat(descriptor).st_size, _PIECE)
        return list(threads.map(lambda start: blake2b(os.pread(descriptor, _PIECE, start)).digest(), starts))


def enter_snapshot(folder: Path) -> Path:
    """Return the newest checkpoint in the cache folder of a hub's model (`models--owner--name`); else the folder.

    Raises:
        ModelError: it holds several, and none of them is marked as the newest.
    """
    snapshots = folder / "snapshots"
    if (folder / "config.json").exists() or not snapshots.is_dir():
        return folder
    revisions = {entry.name: entry for entry in snapshots.iterdir() if entry.is_dir()}
    main = folder / "refs" / "main"
    newest = main.read_text(encoding="utf-8", errors="replace").strip() if main.is_file() else ""
    if newest in revisions:
        return revisions[newest]
    if len(revisions) == 1:
        return next(iter(revisions.values()))
    raise ModelError(f"--model {folder}: holds {len(revisions)} revisions of a model; name one folder in {snapshots}")


def _read_index(file: Path) -> list[Path]:
    """Return the parts named in an index, in the order of their names."""
    try:
        names = set(json.loads(file.read_text(encoding="utf-8"))["weight_map"].values())
        return [file.parent / name for name in sorted(names)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{file.name} can't be read ({type(error).__name__}: {error})") from None
