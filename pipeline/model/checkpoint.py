"""A model's name -> the local folder of its checkpoint. Everything after this works on a folder."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.decision import DECISION_FILE
from pipeline.errors import ModelError, one_line
from pipeline.model.checkpoint_files import (
    ADAPTER_CONFIG,
    enter_snapshot,
    hash_pieces,
    is_lfs_pointer,
    list_adapter_files,
    list_weight_files,
)
from pipeline.model.familiarity_file import FAMILIARITY_FILE
from pipeline.model.head import Head, has_sigmoid_scores, read_head
from pipeline.model.map_scale import SCALE_FILE
from pipeline.model.verdict import VERDICT_FILE

BUNDLED = Path(__file__).parents[1] / "bundled"
_WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")  # on the hub
_ADAPTER = (ADAPTER_CONFIG, "adapter_model.safetensors")
# transformers prefers a processor_config.json to a preprocessor_config.json
_SETTINGS = ("config.json", "preprocessor_config.json", "processor_config.json")
_ERROR_LETTERS = 500  # with values from the file
SPLIT_FILE = "split.csv"  # the photos of the training, for `vitrollout evaluate`


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
            return str(purpose).encode(errors="backslashreplace").decode()
        labels = self.config.get("id2label")
        classes = list(labels.values()) if isinstance(labels, dict) else []
        names = ", ".join(str(name) for name in classes[:8]) + (", ..." if len(classes) > 8 else "")
        return f"{len(classes)} classes ({names})" if classes else "classes without names"

    def read_head(self) -> Head:
        """Read the classes, and what the outputs mean.

        Raises:
            ModelError: config.json does not fit together, or the outputs are no classes.
        """
        try:
            return read_head(self.config)
        except ValueError as error:
            raise ModelError(f"--model {self.name}: its config.json: {one_line(error, _ERROR_LETTERS)}") from None

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names by id; raises as `read_head`."""
        return self.read_head().labels

    def weight_files(self) -> list[Path]:
        """List the files of the weights, as transformers chooses them.

        Raises:
            ModelError: the list of their parts can't be read.
        """
        try:
            return list_weight_files(self.folder, self.config)
        except ValueError as error:
            raise ModelError(f"--model {self.name}: can't load {self.folder}: {error}; fetch it again") from None

    def digest(self) -> str:
        """Hash all files read for a prediction with BLAKE2b-128, hex: equal digests give equal numbers.

        Raises:
            ModelError: one of the files can't be read.
        """
        return self._digest

    @cached_property
    def _digest(self) -> str:  # once: a run asks for its fingerprint, and for each file saved with the model
        digest = hashlib.blake2b(digest_size=16)
        try:
            for name in _SETTINGS:
                if (self.folder / name).is_file():
                    digest.update((self.folder / name).read_bytes())
            for file in [*self.weight_files(), *list_adapter_files(self.folder)]:
                for piece in hash_pieces(file):
                    digest.update(piece)
        except FileNotFoundError as error:
            raise ModelError(f"--model {self.name}: {error.filename} is missing; fetch the checkpoint again") from None
        except OSError as error:
            raise ModelError(f"--model {self.name}: {error.filename}: {error.strerror}; make it readable") from None
        if has_sigmoid_scores(self.config):
            digest.update(b"sigmoid")  # earlier versions wrote rows with a softmax
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
        folder = enter_snapshot(local.resolve())
    elif model.startswith((".", "/", "~")) or model.partition("@")[0].count("/") > 1:
        raise ModelError(f"--model {model}: no such folder; name a checkpoint folder, a hub id or 'bundled'")
    else:
        folder = _download_files(model)
    return Checkpoint(model, folder, _read_config(model, folder))


def _read_config(model: str, folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"), parse_constant=_read_constant)
    except FileNotFoundError:
        raise ModelError(f"--model {model}: {folder} has no config.json; {_suggest_folder(folder)}") from None
    except (OSError, ValueError, RecursionError) as error:
        if is_lfs_pointer(folder / "config.json"):
            raise ModelError(
                f"--model {model}: config.json is a pointer of git-lfs, not the file; run git lfs pull in {folder}"
            ) from None
        raise ModelError(f"--model {model}: can't read config.json: {error}; fetch the checkpoint again") from None
    if not isinstance(config, dict):
        raise ModelError(f"--model {model}: config.json is not a JSON object; fetch the checkpoint again")
    return config


def _read_constant(name: str) -> float:
    """Refuse NaN in a config: a few layers take it without a word, and fail on the first photo."""
    if name == "NaN":
        raise ValueError("a value is NaN")
    return float(name)


def _suggest_folder(folder: Path) -> str:
    if (folder / ADAPTER_CONFIG).is_file():
        return "it holds an adapter without its model: merge the two with peft's merge_and_unload(), and save that"
    if inner := sorted(file.parent.name for file in folder.glob("*/config.json")):
        return f"name one of its folders: {', '.join(inner[:5])}"
    return "it must be a folder in Hugging Face's layout"


def _download_files(model: str) -> Path:
    """Download the hub's files for inference and evaluation, or find them in the local cache."""
    from huggingface_hub import snapshot_download

    repo, _, revision = model.partition("@")
    folder = Path()
    try:
        for weights in _WEIGHTS:  # pickled tensors only without safetensors
            files = [
                *_SETTINGS,
                *_ADAPTER,
                SPLIT_FILE,
                DECISION_FILE,
                FAMILIARITY_FILE,
                SCALE_FILE,
                VERDICT_FILE,
                weights,
                f"{weights}.index.json",
            ]
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
