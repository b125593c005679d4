"""The recipe of a training: a value for each setting left to the program."""

import json
import logging
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from pipeline.atomic_files import atomic_write_path
from pipeline.training.augment import Augmentation
from pipeline.training.config import FinetuneConfig

log = logging.getLogger(__name__)

Resize = Literal["stretch", "pad"]
BestBy = Literal["defect_recall", "macro_f1", "accuracy", "loss"]

_FILE = "recipe.json"  # in the working folder: a resumed training keeps its recipe
_PLAIN: dict[str, Any] = {
    "input_size": 224,
    "resize": "stretch",
    "blocks": None,
    "train_blocks": None,
    "epochs": 10,
    "learning_rate": 1e-4,
    "class_weights": "balanced",
    "averaging": 0.0,
    "best_by": "macro_f1",
    "patience": 3,
}


@dataclass(frozen=True)
class Recipe:
    """All values that decide the numbers of a training; see the settings of the same names.

    Attributes:
        blocks: number of first encoder blocks to keep; None: all.
        train_blocks: number of last blocks to train with the head; None: the whole model.
        epochs: 0: the starting point is the model.
        patience: None: never stop early.
        judges_start: the starting point is a candidate, and the training has to beat it on validation.
    """

    input_size: int
    resize: Resize
    blocks: int | None
    train_blocks: int | None
    epochs: int
    learning_rate: float
    class_weights: Literal["balanced", "sqrt", "none"]
    flips: bool
    quarter_turns: bool
    brightness: float
    contrast: float
    crop: float
    averaging: float
    best_by: BestBy
    patience: int | None
    layer_decay: float
    weight_decay: float
    warmup_share: float
    batch_size: int
    label_smoothing: float
    precision: Literal["auto", "fp32", "bf16"]
    seed: int
    checkpoint_seconds: float
    judges_start: bool = False

    @property
    def augmentation(self) -> Augmentation:
        """The random changes of the training photos."""
        return Augmentation(self.flips, self.quarter_turns, self.brightness, self.contrast, self.crop)

    def choose(self, config: FinetuneConfig, reason: str, **values: Any) -> "Recipe":
        """Take values for settings not given by the user, and log each with the reason."""
        chosen = {name: value for name, value in values.items() if not is_given(config, name)}
        if not chosen:
            return self
        named = ", ".join(f"{name} = {format_value(name, value)}" for name, value in chosen.items())
        log.info("recipe: %s; %s", named, reason)
        return replace(self, **chosen)


def is_given(config: FinetuneConfig, name: str) -> bool:
    """Return True for a setting given by the user, other than as `auto`."""
    return name in config.model_fields_set and getattr(config, name) != "auto"


def plain_recipe(config: FinetuneConfig) -> Recipe:
    """Return the settings as given, with fixed values for the others."""
    values = {
        field.name: getattr(config, field.name) for field in fields(Recipe) if field.name in FinetuneConfig.model_fields
    }
    if config.tile is not None and not is_given(config, "crop"):
        values["crop"] = 0.0  # windows are drawn anew in each epoch, and a crop could cut off the defect
    return Recipe(**{name: _PLAIN.get(name, value) if value == "auto" else value for name, value in values.items()})


def read_recipe(work: Path) -> Recipe | None:
    """Read the recipe of an unfinished training; None before it is complete."""
    file = work / _FILE
    return TypeAdapter(Recipe).validate_json(file.read_bytes()) if file.is_file() else None


def write_recipe(recipe: Recipe, work: Path) -> None:
    """Keep the recipe for a resumed training.

    Raises:
        StoreError: the folder can't be written.
    """
    with atomic_write_path(work / _FILE, work) as temporary:
        temporary.write_text(json.dumps(asdict(recipe), indent=1))


def format_value(name: str, value: object) -> str:
    """Write a setting as the command line takes it."""
    words = {"blocks": "all", "train_blocks": "all", "patience": "none"}
    return words.get(name, "none") if value is None else f"{value:g}" if isinstance(value, float) else str(value)
