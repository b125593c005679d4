"""The settings of a fine-tuning, checked once, with all mistakes reported together."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from pipeline.setting_types import LEAST_TILE, AlsoModel, LabelledData, OutFolder, none_or
from pipeline.settings import GroupedDataSettings

if TYPE_CHECKING:
    from pipeline.labelled.deal_groups import Shares


def _parse_number(expected: str, allows: Callable[[float], bool], *, word: str | None = None) -> BeforeValidator:
    """Return a validator of `auto`, a number, and perhaps a word for None.

    Args:
        expected: the number in words: "a whole number of ...", else a fraction.
        allows: tells whether a number is one of these.
        word: for None.
    """
    kind = int if "whole" in expected else float
    wanted = f"must be auto, {word} or {expected}" if word else f"must be auto or {expected}"

    def parse(value: object) -> object:
        if value == "auto" or (word and value in (word, None)):
            return None if value == word else value
        try:
            number = kind(str(value))
        except ValueError:
            raise ValueError(wanted) from None
        if not (allows(number) and math.isfinite(number)):
            raise ValueError(wanted)
        return number

    return BeforeValidator(parse)


_Auto = Literal["auto"]
_Side = Annotated[_Auto | int, _parse_number("a whole number of at least 8", lambda number: number >= 8)]
_Count = Annotated[_Auto | int, _parse_number("a whole number of at least 1", lambda number: number >= 1)]
_Kept = Annotated[_Auto | int | None, _parse_number("a whole number of at least 1", lambda n: n >= 1, word="all")]
_Trained = Annotated[_Auto | int | None, _parse_number("a whole number of at least 0", lambda n: n >= 0, word="all")]
_Patience = Annotated[_Auto | int | None, _parse_number("a whole number of at least 1", lambda n: n >= 1, word="none")]
_Rate = Annotated[_Auto | float, _parse_number("a number above 0", lambda number: number > 0)]
_Decay = Annotated[_Auto | float, _parse_number("a number from 0 to below 1", lambda number: 0 <= number < 1)]


class FinetuneConfig(GroupedDataSettings):
    """The settings of one fine-tuning. Every option of `vitrollout finetune` is a field here."""

    data: LabelledData = Field(
        description="folder with a subfolder per class, or train, val, test; or a CSV path,label[,weight][,split]; or "
        "a results folder with reviews"
    )
    out: OutFolder = Field(description="folder of the new model; an unfinished training in it is resumed")
    model: str = Field(
        "bundled",
        description="starting model: 'bundled', a checkpoint folder, or a Hugging Face id[@revision]; for a results "
        "folder by default that of its newest run",
    )
    recipe: Literal["auto", "plain"] = Field(
        "auto",
        description="auto: settings not given are chosen from the photos and the time, each with its reason in the "
        "log; plain: fixed values",
    )
    minutes: Annotated[Annotated[float, Field(gt=0, le=100_000)] | None, BeforeValidator(none_or)] = Field(
        30, description="time for the whole training, by a measured step; none: no limit"
    )
    tile: Annotated[Annotated[int, Field(ge=LEAST_TILE)] | None, BeforeValidator(none_or)] = Field(
        None,
        description="learn from windows of this side in pixels, around the boxes of large photos and where there are "
        "none, drawn anew in each epoch; runs then cut photos into such windows; none: whole photos",
    )
    hard_negatives: bool = Field(
        False,
        description="with --tile: windows without a defect that the starting model calls one come back as good, each "
        "about once an epoch, up to half of all windows without a defect",
    )
    input_size: _Side = Field(
        "auto", description="side of the model's square input in pixels; divisible by its patch size"
    )
    resize: Literal["auto", "stretch", "pad"] = Field(
        "auto", description="from a photo to the square: stretch it, or keep its aspect and pad it with black"
    )
    blocks: _Kept = Field(
        "auto", description="number of first encoder blocks to keep, for a smaller and faster model; all: keep all"
    )
    train_blocks: _Trained = Field(
        "auto", description="number of last blocks to train with the head; 0: the head alone; all: the whole model"
    )
    epochs: _Count = Field("auto", description="maximum number of passes over the training photos")
    learning_rate: _Rate = Field("auto", description="peak learning rate of the head; cosine schedule")
    layer_decay: float = Field(0.8, gt=0, le=1, description="factor on the rate per block, from the head down")
    weight_decay: float = Field(0.05, ge=0, description="weight decay of matrices; norms, biases, positions have none")
    warmup_share: float = Field(0.1, ge=0, lt=1, description="share of all steps to warm up, from 0 to the peak rate")
    batch_size: int = Field(32, ge=1, description="photos in one training step")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of each label spread over all classes")
    class_weights: Literal["auto", "balanced", "sqrt", "none"] = Field(
        "auto", description="balanced: rare classes count as much as frequent ones; sqrt: half-way to that"
    )
    flips: bool = Field(True, description="augment: mirror left-right and top-bottom")
    quarter_turns: bool = Field(True, description="augment: turn by 0, 90, 180 or 270 degrees")
    brightness: float = Field(0.2, ge=0, lt=1, description="augment: change brightness by up to this share; 0: off")
    contrast: float = Field(0.2, ge=0, lt=1, description="augment: change contrast by up to this share; 0: off")
    crop: float = Field(0.1, ge=0, lt=0.9, description="augment: cut away up to this share of each side; 0: off")
    validation_share: float = Field(
        0.15, gt=0, lt=1, description="share of each class for validation, if the data has no such split"
    )
    test_share: float = Field(
        0.15, ge=0, lt=1, description="share of each class to hold out, if the data has no splits"
    )
    also: AlsoModel = Field(
        None,
        description='"model>=SCORE": train on unreviewed photos of a results folder with such a score too, at 0.3 of '
        "the weight",
    )
    averaging: _Decay = Field(
        "auto",
        description="decay of the average over the weights of all steps, which becomes the model; 0: the last",
    )
    best_by: Literal["auto", "defect_recall", "macro_f1", "accuracy", "loss"] = Field(
        "auto",
        description="validation metric; the last weights as good as the best ones, within a standard error, are saved",
    )
    patience: _Patience = Field(
        "auto", description="stop after this many epochs without a better validation; none: never"
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="precision of the training steps; weights stay float32"
    )
    save_dtype: Literal["fp32", "fp16"] = Field("fp32", description="type of the saved weights; fp16 halves the file")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of splits, head, order and augmentation")
    checkpoint_seconds: float = Field(120, gt=0, description="seconds between checkpoints, to resume from after a stop")
    licence: str = Field("unknown", description="licence of the new model, for its card (SPDX id)")
    purpose: str = Field("", description="purpose of the model in one line; `vitrollout run` shows it first")
    notes: Annotated[Path | None, BeforeValidator(none_or)] = Field(
        None, description="Markdown file to append to the model card"
    )
    overwrite: bool = Field(False, description="replace the model, or a different unfinished training, in --out")

    @field_validator("hard_negatives")
    @classmethod
    def _check_hard_negatives(cls, hard_negatives: bool, info: ValidationInfo) -> bool:
        if hard_negatives and info.data.get("tile") is None:
            raise ValueError("is for windows of photos with boxes; give --tile too")
        return hard_negatives

    @field_validator("notes")
    @classmethod
    def _check_notes(cls, notes: Path | None) -> Path | None:
        if notes is not None:
            try:
                notes.read_text(encoding="utf-8")  # now rather than after the training
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
                raise ValueError(f"can't be read: {reason}") from None
        return notes

    @field_validator("test_share")
    @classmethod
    def _check_shares(cls, test_share: float, info: ValidationInfo) -> float:
        if info.data.get("validation_share", 0) + test_share >= 1:
            raise ValueError("plus validation_share must be under 1, to leave photos for training")
        return test_share

    @property
    def shares(self) -> "Shares | None":
        """The shares of train, validation and test; None if none of them was given."""
        if not self.model_fields_set & {"validation_share", "test_share"}:
            return None
        return (1 - self.validation_share - self.test_share, self.validation_share, self.test_share)

    def identity(self) -> dict[str, object]:
        """Return the settings that decide the numbers, as given: those of an unfinished training must be equal."""
        excluded = {"data", "out", "checkpoint_seconds", "licence", "purpose", "notes", "overwrite", "splits", "labels"}
        return self.model_dump(mode="json", exclude=excluded)
