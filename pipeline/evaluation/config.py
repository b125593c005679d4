"""Every setting of an evaluation, checked once, with all errors at once."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from pipeline.config import (
    AutoCount,
    Device,
    InputSize,
    LabelledData,
    OutFolder,
    Settings,
    check_outside,
    split_at_commas,
)


def _parse_positive(value: object) -> object:
    """`auto` -> (), labels by commas."""
    return () if value == "auto" else split_at_commas(value)


class EvaluateConfig(Settings):
    """The settings of one evaluation. Every option of `vitrollout evaluate` is a field here."""

    data: LabelledData = Field(description="folder with a subfolder per class, or a CSV path,label[,split]")
    model: str = Field("bundled", description="'bundled', a checkpoint folder, or a Hugging Face id[@revision]")
    out: OutFolder = Field(Path("evaluation"), description="for metrics.json, predictions.parquet and figure.png")
    split: Literal["auto", "train", "validation", "test", "all"] = Field(
        "auto",
        description="which photos; auto: the test split that the data, or else the model's split.csv, names; else all",
    )
    positive: Annotated[tuple[str, ...], BeforeValidator(_parse_positive)] = Field(
        (),
        json_schema_extra={"none": "auto"},
        description="LABEL[,LABEL...]: the classes that are a defect; auto: all but ok, good, normal, functional",
    )
    recall: float = Field(0.99, gt=0, le=1, description="share of defects to find: the threshold for it is reported")
    average_turns: bool = Field(False, description="average over the eight turns and mirrorings of each photo: slower")
    resamples: int = Field(1000, ge=0, description="bootstrap resamples for the 95% intervals; 0: no intervals")
    seed: int = Field(0, ge=0, lt=2**31, description="of the bootstrap")
    input_size: InputSize = Field(
        None, description="model input in pixels, N or HEIGHTxWIDTH; none: the checkpoint's own"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field("auto", description="of the forward pass")
    device: Device = Field("auto", description="auto, cpu, mps, cuda or cuda:N")
    batch_size: AutoCount = Field("auto", description="photos in one forward pass")
    workers: AutoCount = Field("auto", description="processes that decode photos; auto: one a core")
    update_card: bool = Field(False, description="put the results into the README.md of the model's folder")

    @field_validator("update_card")
    @classmethod
    def _check_update_card(cls, update_card: bool, info: ValidationInfo) -> bool:
        model = info.data.get("model", "bundled")
        if update_card and (model == "bundled" or not os.path.isdir(os.path.expanduser(model))):
            raise ValueError("only the card of a model folder of yours can be written; name it with --model")
        return update_card

    @field_validator("out")
    @classmethod
    def _check_out(cls, out: Path, info: ValidationInfo) -> Path:
        return check_outside(out, info.data.get("data"))
