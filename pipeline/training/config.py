"""Every setting of a fine-tuning, checked once, with all errors at once."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from pipeline.config import LabelledData, OutFolder, Settings, check_outside, none_or

if TYPE_CHECKING:
    from pipeline.training.augment import Augmentation


def _all_is_none(value: object) -> object:
    return None if value == "all" else value


class FinetuneConfig(Settings):
    """The settings of one fine-tuning. Every option of `vitrollout finetune` is a field here."""

    data: LabelledData = Field(
        description="folder with a subfolder per class, or train, val, test; or a CSV path,label[,weight][,split]"
    )
    out: OutFolder = Field(description="folder of the new model; an unfinished training in it goes on")
    model: str = Field("bundled", description="start: 'bundled', a checkpoint folder, or a Hugging Face id[@revision]")
    input_size: int = Field(
        224, ge=8, description="side of the model's square input in pixels; divisible by its patch size"
    )
    blocks: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_all_is_none)] = Field(
        None,
        json_schema_extra={"none": "all"},
        description="keep only so many of the first encoder blocks, for a smaller and faster model; all: keep all",
    )
    train_blocks: Annotated[Annotated[int, Field(ge=0)] | None, BeforeValidator(_all_is_none)] = Field(
        None,
        json_schema_extra={"none": "all"},
        description="train the last so many blocks and the head; 0: the head alone; all: everything",
    )
    epochs: int = Field(10, ge=1, description="passes over the training photos, at most")
    learning_rate: float = Field(1e-4, gt=0, description="peak rate of the head; cosine schedule")
    layer_decay: float = Field(0.8, gt=0, le=1, description="factor on the rate per block, from the head down")
    weight_decay: float = Field(0.05, ge=0, description="of matrices; never of norms, biases and positions")
    warmup_share: float = Field(0.1, ge=0, lt=1, description="share of the steps in which the rate rises to its peak")
    batch_size: int = Field(32, ge=1, description="photos in one training step")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of each label spread over all classes")
    class_weights: Literal["balanced", "sqrt", "none"] = Field(
        "balanced", description="balanced: rare classes count as much as frequent ones; sqrt: half-way to it"
    )
    flips: bool = Field(True, description="augment: mirror left-right and top-bottom")
    quarter_turns: bool = Field(True, description="augment: turn by 0, 90, 180 or 270 degrees")
    brightness: float = Field(0.2, ge=0, lt=1, description="augment: change brightness by up to this share; 0: off")
    contrast: float = Field(0.2, ge=0, lt=1, description="augment: change contrast by up to this share; 0: off")
    crop: float = Field(0.1, ge=0, lt=0.9, description="augment: cut away up to this share of each side; 0: off")
    validation_share: float = Field(
        0.15, gt=0, lt=1, description="share of each class for validation, where the data names no such split"
    )
    test_share: float = Field(
        0.15, ge=0, lt=1, description="share of each class held out, where the data has no splits"
    )
    best_by: Literal["macro_f1", "accuracy", "loss"] = Field(
        "macro_f1", description="validation metric that picks the model that is saved"
    )
    patience: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(none_or)] = Field(
        3, description="stop after so many epochs with no better validation; none: never"
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="of the training steps; weights stay float32"
    )
    save_dtype: Literal["fp32", "fp16"] = Field("fp32", description="of the saved weights; fp16 halves the file")
    seed: int = Field(0, ge=0, lt=2**31, description="of splits, head, order and augmentation")
    checkpoint_seconds: float = Field(120, gt=0, description="save a checkpoint so often, for going on after a stop")
    licence: str = Field("unknown", description="licence of the new model, as its card shall name it (SPDX id)")
    purpose: str = Field("", description="what the model is for, in one line; `vitrollout run` shows it first")
    notes: Annotated[Path | None, BeforeValidator(none_or)] = Field(
        None, description="text file in Markdown to put into the model card"
    )
    overwrite: bool = Field(False, description="replace the model, or another unfinished training, in --out")

    @field_validator("notes")
    @classmethod
    def _check_notes(cls, notes: Path | None) -> Path | None:
        if notes is not None:
            try:
                notes.read_text(encoding="utf-8")  # now, not when the training is over
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
                raise ValueError(f"can't be read: {reason}") from None
        return notes

    @field_validator("out")
    @classmethod
    def _check_out(cls, out: Path, info: ValidationInfo) -> Path:
        return check_outside(out, info.data.get("data"))

    @field_validator("test_share")
    @classmethod
    def _check_shares(cls, test_share: float, info: ValidationInfo) -> float:
        if info.data.get("validation_share", 0) + test_share >= 1:
            raise ValueError("with validation_share it must be under 1; something must be left to train on")
        return test_share

    @property
    def augmentation(self) -> "Augmentation":
        """The augmentations as they go to the training data."""
        from pipeline.training.augment import Augmentation  # imports torch, for which --help must not wait

        return Augmentation(self.flips, self.quarter_turns, self.brightness, self.contrast, self.crop)

    def recipe(self) -> dict[str, object]:
        """What decides the numbers: equal recipes on equal data give the same model."""
        apart = {"data", "out", "checkpoint_seconds", "licence", "purpose", "notes", "overwrite"}
        return self.model_dump(mode="json", exclude=apart)
