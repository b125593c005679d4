"""A model's name -> the local folder of its checkpoint. Everything after this works on a folder."""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ModelError, one_line
from pipeline.model.families import FAMILIES

BUNDLED = Path(__file__).parents[1] / "bundled"
_WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")
# transformers prefers a processor_config.json to a preprocessor_config.json
_SETTINGS = ("config.json", "preprocessor_config.json", "processor_config.json")
SPLIT_FILE = "split.csv"  # the photos of the training, for `vitrollout evaluate`
_PIECE = 2**20  # bytes hashed at once


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in Hugging Face's layout, on this machine.

    Attributes:
        name: as given by the user: `bundled`, a folder, or a hub id.
        folder: the folder of its files.
        config: its config.json.
    """

    name: str
    folder: Path
    config: dict[str, Any]

    @property
    def model_type(self) -> str:
        """The family's name in transformers, "" if the config has none."""
        return str(self.config.get("model_type", ""))

    @property
    def purpose(self) -> str:
        """The purpose of the model in its author's words, or a list of its classes."""
        if purpose := self.config.get("vitrollout_purpose"):
            return str(purpose)
        labels = self.config.get("id2label")
        classes = list(labels.values()) if isinstance(labels, dict) else []
        names = ", ".join(str(name) for name in classes[:8]) + (", ..." if len(classes) > 8 else "")
        return f"{len(classes)} classes ({names})" if classes else "classes without names"

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names by id, as transformers reads them from the config.

        Raises:
            ModelError: an id is not a number.
        """
        names = self.config.get("id2label")
        if not isinstance(names, dict):
            return tuple(f"LABEL_{index}" for index in range(int(self.config.get("num_labels", 2))))
        try:
            return tuple(str(names[key]) for key in sorted(names, key=int))
        except ValueError as error:
            raise ModelError(f"--model {self.name}: id2label in its config.json: {error}; correct it") from None

    def weight_files(self) -> list[Path]:
        """List the files of the weights: safetensors if there are any, otherwise pickled tensors."""
        for pattern in _WEIGHTS:
            if files := sorted(self.folder.glob(pattern)):
                return files
        return []

    def digest(self) -> str:
        """Hash weights, config and preprocessing with BLAKE2b-128, hex: equal digests give equal numbers.

        Raises:
            ModelError: one of the files can't be read.
        """
        digest = hashlib.blake2b(digest_size=16)
        try:
            for name in _SETTINGS:
                if (self.folder / name).is_file():
                    digest.update((self.folder / name).read_bytes())
            for file in self.weight_files():
                for piece in _hash_pieces(file):
                    digest.update(piece)
        except OSError as error:
            raise ModelError(f"--model {self.name}: {error.filename}: {error.strerror}; make it readable") from None
        return digest.hexdigest()


def resolve_checkpoint(model: str) -> Checkpoint:
    """Find a checkpoint: `bundled`, a local folder, or a hub id with an optional `@revision`.

    Raises:
        ModelError: it is missing, out of reach, or not a checkpoint.
    """
    try:
        local = Path(model).expanduser()
        is_folder = local.is_dir()
    except (OSError, RuntimeError) as error:  # too long for a name, an unknown user's home
        raise ModelError(f"--model {model}: {error}; name a checkpoint folder, a hub id or 'bundled'") from None
    if model == "bundled":
        if not (BUNDLED / "config.json").is_file():
            raise ModelError(
                f"--model bundled: no config.json in {BUNDLED}; build the model with make model, or name another one"
            )
        folder = BUNDLED
    elif is_folder:
        folder = local.resolve()
    elif model.startswith((".", "/", "~")) or model.partition("@")[0].count("/") > 1:
        raise ModelError(f"--model {model}: no such folder; name a checkpoint folder, a hub id or 'bundled'")
    else:
        folder = _download_files(model)
    return Checkpoint(model, folder, _read_config(model, folder))


def check_family(checkpoint: Checkpoint) -> None:
    """Refuse a model without capturable attention, before loading anything of it.

    Raises:
        ModelError: windowed or convolutional, or unknown here.
    """
    if checkpoint.model_type not in FAMILIES:
        raise ModelError(
            f"--model {checkpoint.name}: model type '{checkpoint.model_type}' has no attention rollout; "
            f"supported are {', '.join(sorted(FAMILIES))}"
        )


def _hash_pieces(file: Path) -> list[bytes]:
    """Hash each piece of a file on all cores: weights are large, and a run waits for this."""
    with file.open("rb") as stream, ThreadPoolExecutor() as threads:
        descriptor = stream.fileno()
        starts = range(0, os.fstat(descriptor).st_size, _PIECE)
        return list(threads.map(lambda start: hashlib.blake2b(os.pread(descriptor, _PIECE, start)).digest(), starts))


def _read_config(model: str, folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"--model {model}: {folder} has no config.json; it must be a folder in Hugging Face's layout"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"--model {model}: can't read config.json: {error}; fetch the checkpoint again") from None
    if not isinstance(config, dict):
        raise ModelError(f"--model {model}: config.json is not a JSON object; fetch the checkpoint again")
    return config


def _download_files(model: str) -> Path:
    """Download the hub's files for inference and evaluation, or find them in the local cache."""
    from huggingface_hub import snapshot_download

    repo, _, revision = model.partition("@")
    folder = Path()
    try:
        for weights in _WEIGHTS:  # pickled tensors only without safetensors
            files = [*_SETTINGS, SPLIT_FILE, weights, f"{weights}.index.json"]
            folder = Path(snapshot_download(repo, revision=revision or None, allow_patterns=files))
            if any(folder.glob(weights)):
                break
    except Exception as error:  # errors of its HTTP client come through too, for instance a proxy's
        reason = one_line(error, 200)
        raise ModelError(
            f"--model {model}: no such folder here, and it could not be downloaded "
            f"from the model hub ({type(error).__name__}: {reason}); "
            "use --model bundled, a local folder, or fetch it once with a connection and set HF_HUB_OFFLINE=1"
        ) from None
    return folder
