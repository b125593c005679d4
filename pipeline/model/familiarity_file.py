"""`familiarity.safetensors` in a model's folder: the statistics of its training photos, bound to its weights."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from pipeline.atomic_files import atomic_write_path
from pipeline.errors import ModelError, one_line
from pipeline.model.familiarity import Familiarity, FittedOn

FAMILIARITY_FILE = "familiarity.safetensors"

_VERSION = "1"


def read_familiarity(folder: Path, model_digest: str) -> Familiarity:
    """Read the statistics in a model's folder.

    Args:
        folder: of the model, with the file.
        model_digest: of the model's files, see `Checkpoint.digest`.

    Raises:
        ModelError: the file is damaged, or the model has other weights or preprocessing than the one it was made for.
    """
    from safetensors import SafetensorError, safe_open

    file = folder / FAMILIARITY_FILE
    try:
        with safe_open(file, framework="numpy") as content:
            metadata = content.metadata() or {}
            arrays = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 - not a dict
        if metadata["version"] != _VERSION:
            raise ValueError(f"version {metadata['version']} of the format, and this vitrollout reads {_VERSION}")
        fitted_on = TypeAdapter(FittedOn).validate_json(metadata["fitted_on"])
        familiarity = Familiarity(**arrays, fitted_on=fitted_on)
        _check_shapes(familiarity)
    except OSError as error:
        raise ModelError(f"{file}: {error.strerror or error}; make it readable") from None
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _unusable(folder, error) from None
    if metadata.get("model_digest") != model_digest:
        raise _unusable(folder, "it was made for other weights or another preprocessing")
    return familiarity


def write_familiarity(familiarity: Familiarity, folder: Path, model_digest: str) -> Path:
    """Write the statistics into a model's folder, bound to its files; return the file.

    Raises:
        StoreError: the folder can't be written.
    """
    from safetensors.numpy import save_file

    fitted_on = json.dumps(asdict(familiarity.fitted_on))
    metadata = {"version": _VERSION, "model_digest": model_digest, "fitted_on": fitted_on}
    file = folder / FAMILIARITY_FILE
    with atomic_write_path(file, folder) as temporary:
        save_file(familiarity.arrays(), temporary, metadata)
    return file


def _check_shapes(familiarity: Familiarity) -> None:
    """Check that the arrays fit together and hold numbers; raises ValueError."""
    (classes, width), (rows, kept) = familiarity.means.shape, familiarity.directions.shape
    quantiles = len(familiarity.distances)
    expected = {"variances": (kept,), "rest": (1,), "levels": (quantiles,), "tail": (1,)}
    wrong = [name for name, shape in expected.items() if getattr(familiarity, name).shape != shape]
    if wrong or rows != width or not classes or not quantiles:
        raise ValueError(f"its arrays don't fit together ({', '.join(wrong) or 'means, directions'})")
    if infinite := [name for name, array in familiarity.arrays().items() if not np.isfinite(array).all()]:
        raise ValueError(f"{infinite[0]} is not finite")


def _unusable(folder: Path, reason: object) -> ModelError:
    return ModelError(
        f"{folder / FAMILIARITY_FILE}: {one_line(reason, 200)}; make it again with vitrollout finetune, or remove the "
        "file: photos are then not compared with the training photos"
    )
