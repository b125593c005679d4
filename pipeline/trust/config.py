"""Every setting of a measurement of trust, checked once, with all errors at once."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from pipeline.maps.methods import METHODS, MethodName
from pipeline.setting_types import (
    LabelledData,
    NoneOrPath,
    OutFolder,
    check_any_method,
    is_model_folder,
    none_or,
    resolve_file,
    resolve_path,
    split_at_commas,
)
from pipeline.settings import BatchSettings, LabelledDataSettings, TileSettings


def _parse_methods(value: object) -> object:
    return tuple(METHODS) if value in ("all", ("all",)) else split_at_commas(value)


class TrustConfig(TileSettings, BatchSettings, LabelledDataSettings):
    """The settings of one measurement. Every option of `vitrollout trust` is a field here."""

    data: LabelledData = Field(description="folder of photos, or a CSV path[,label][,split][,x0,y0,x1,y1]")
    out: OutFolder = Field(Path("trust"), description="for trust.json, trust.md, trust.parquet and trust.png")
    methods: Annotated[tuple[MethodName, ...], BeforeValidator(_parse_methods), AfterValidator(check_any_method)] = (
        Field(tuple(METHODS), description="all, or METHOD[,METHOD...]; baselines are always included")
    )
    boxes: NoneOrPath = Field(
        None, description="CSV path,x0,y0,x1,y1 of the defects in upright pixels; none: the columns of DATA, if a CSV"
    )
    masks: NoneOrPath = Field(
        None,
        description="folder of masks named like the photos, black or 0 outside defects; none: DATA/masks or "
        "DATA/ground_truth",
    )
    split: Literal["auto", "train", "validation", "test", "all"] = Field(
        "auto", description="photos to use of a CSV with splits; auto: test if there is one, or else all"
    )
    limit: Annotated[Annotated[int, Field(ge=2)] | None, BeforeValidator(none_or)] = Field(
        200, description="measure on at most this many photos, drawn at random; none: all"
    )
    steps: int = Field(6, ge=2, le=100, description="points of a deletion or insertion curve; more are slower")
    resamples: int = Field(1000, ge=1, description="bootstrap resamples for the 95% intervals")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the drawn photos, the baselines and the bootstrap")
    save: bool = Field(
        False,
        description="save the verdict with the model: run, nightly and explain then take its method for --method auto",
    )

    @field_validator("save")
    @classmethod
    def _check_save(cls, save: bool, info: ValidationInfo) -> bool:
        if save and not is_model_folder(info.data.get("model", "bundled")):
            raise ValueError("a verdict can only be saved into a model folder of yours; name it with --model")
        return save

    @field_validator("boxes")
    @classmethod
    def _check_boxes_file(cls, file: Path | None) -> Path | None:
        return None if file is None else resolve_file(file)

    @field_validator("masks")
    @classmethod
    def _check_masks_folder(cls, folder: Path | None) -> Path | None:
        if folder is not None and not (folder := resolve_path(folder)).is_dir():
            raise ValueError("no such folder")
        return folder
