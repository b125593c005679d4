"""Every setting of a measurement of trust, checked once, with all errors at once."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from pipeline.config import (
    AutoCount,
    Device,
    InputSize,
    LabelledData,
    NoneOrPath,
    OutFolder,
    Settings,
    check_outside,
    none_or,
    resolve,
    split_at_commas,
)
from pipeline.maps.methods import BACKWARD, FORWARD, Method


def _parse_methods(value: object) -> object:
    return (*FORWARD, *BACKWARD) if value in ("all", ("all",)) else split_at_commas(value)


class TrustConfig(Settings):
    """The settings of one measurement. Every option of `vitrollout trust` is a field here."""

    data: LabelledData = Field(description="folder of photos, or a CSV path[,label][,split][,x0,y0,x1,y1]")
    model: str = Field("bundled", description="'bundled', a checkpoint folder, or a Hugging Face id[@revision]")
    out: OutFolder = Field(Path("trust"), description="for trust.json, trust.md, trust.parquet and trust.png")
    methods: Annotated[tuple[Method, ...], BeforeValidator(_parse_methods)] = Field(
        (*FORWARD, *BACKWARD), description="all, or METHOD[,METHOD...]; the baselines are always there"
    )
    boxes: NoneOrPath = Field(
        None, description="CSV path,x0,y0,x1,y1 in upright pixels: where the defects are; none: DATA's, if a CSV"
    )
    masks: NoneOrPath = Field(
        None, description="folder of pictures named as the photos, not black where the defect is; none: DATA/masks"
    )
    split: Literal["auto", "train", "validation", "test", "all"] = Field(
        "auto", description="which photos of a CSV with splits; auto: test where there is one, else all"
    )
    limit: Annotated[Annotated[int, Field(ge=2)] | None, BeforeValidator(none_or)] = Field(
        200, description="measure on so many photos, drawn at random; none: all"
    )
    steps: int = Field(6, ge=2, le=100, description="points of a deletion or insertion curve: more are slower")
    resamples: int = Field(1000, ge=1, description="bootstrap resamples for the 95% intervals")
    seed: int = Field(0, ge=0, lt=2**31, description="of the drawn photos, the baselines and the bootstrap")
    input_size: InputSize = Field(
        None, description="model input in pixels, N or HEIGHTxWIDTH; none: the checkpoint's own"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field("auto", description="of the forward pass")
    device: Device = Field("auto", description="auto, cpu, mps, cuda or cuda:N")
    batch_size: AutoCount = Field("auto", description="photos in one forward pass")

    @field_validator("out")
    @classmethod
    def _check_out(cls, out: Path, info: ValidationInfo) -> Path:
        return check_outside(out, info.data.get("data"))

    @field_validator("methods")
    @classmethod
    def _check_methods(cls, methods: tuple[Method, ...]) -> tuple[Method, ...]:
        if not methods:
            raise ValueError("names no method")
        return methods

    @field_validator("boxes")
    @classmethod
    def _check_boxes(cls, file: Path | None) -> Path | None:
        if file is not None and not (file := resolve(file)).is_file():
            raise ValueError("no such file")
        return file

    @field_validator("masks")
    @classmethod
    def _check_masks(cls, folder: Path | None) -> Path | None:
        if folder is not None and not (folder := resolve(folder)).is_dir():
            raise ValueError("no such folder")
        return folder
