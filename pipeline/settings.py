"""Base classes for the settings of all commands, with one error for all mistakes at once."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from pipeline.errors import ConfigError
from pipeline.photos.limits import DECODE_SECONDS, MAX_PIXELS
from pipeline.setting_types import (
    AutoCount,
    ColormapName,
    Device,
    Group,
    InputSize,
    LabelledData,
    NoneOrPath,
    OutFolder,
    ScaleName,
    Tile,
    check_outside,
    none_or,
    resolve_file,
    resolve_path,
)
from pipeline.storage.location import display_text

FingerprintRule = Literal["always", "attention maps", "label maps"]


class Settings(BaseModel):
    """A frozen set of settings. Refuses unknown names, and reports all mistakes in one `ConfigError`."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @model_validator(mode="wrap")
    @classmethod
    def _report_all_problems(cls, values: Any, validate: ModelWrapValidatorHandler["Settings"]) -> "Settings":
        try:
            return validate(values)
        except ValidationError as error:
            raise ConfigError(*(cls._describe_problem(problem) for problem in error.errors())) from None

    @classmethod
    def _describe_problem(cls, problem: Any) -> str:
        name = str(problem["loc"][0]) if problem["loc"] else cls.__name__
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, cls.model_fields, n=1)
            return f"{name}: no such setting" + (f"; did you mean {near[0]}?" if near else "")
        if problem["type"] == "missing":
            return f"{name}: must be given"
        reason = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        expected = reason if problem["type"] == "value_error" else f"must be {reason}"
        return f"{name} = {display_text(str(problem['input']))}: {expected}"

    @classmethod
    def fingerprint_fields(cls) -> dict[str, FingerprintRule]:
        """Return the fields declared with `changes_numbers`, and when they do."""
        extras = {name: field.json_schema_extra for name, field in cls.model_fields.items()}
        marks = {name: extra.get("changes_numbers") for name, extra in extras.items() if isinstance(extra, dict)}
        return {name: cast(FingerprintRule, mark) for name, mark in marks.items() if mark}


def changes_numbers(when: FingerprintRule = "always") -> dict[str, Any]:
    """Declare a setting as part of the fingerprint, in the `json_schema_extra` of its field.

    Args:
        when: always, or only if the run computes maps from attention alone or maps explaining a label.
    """
    return {"changes_numbers": when}


class ModelSettings(Settings):
    """The model, and how it computes."""

    model: str = Field(
        "bundled",
        description="'bundled', a checkpoint folder, or a Hugging Face id[@revision]",
        json_schema_extra=changes_numbers(),
    )
    input_size: InputSize = Field(
        None,
        description="model input in pixels, N or HEIGHTxWIDTH; larger is finer and slower; none: the checkpoint's",
        json_schema_extra=changes_numbers(),
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="precision of the forward pass", json_schema_extra=changes_numbers()
    )
    device: Device = Field("auto", description="auto, cpu, mps, cuda or cuda:N")


class BatchSettings(ModelSettings):
    """The size of a forward pass."""

    batch_size: AutoCount = Field("auto", description="photos in one forward pass")


class TileSettings(Settings):
    """Large photos in windows."""

    tile: Tile = Field(
        "auto",
        description="cut photos into windows of this side in pixels, so that small defects are seen as they are; none: "
        "the whole photo at once; auto: as the model's config.json or its decision says, or else none",
        json_schema_extra=changes_numbers(),
    )
    tile_overlap: float = Field(
        0.5,
        ge=0,
        le=0.9,
        description="share of a window's side covered by the next one as well; a defect should fit into it",
        json_schema_extra=changes_numbers(),
    )


class MapSettings(Settings):
    """From attention to maps, the same for a run and for a single photo."""

    head_fusion: Literal["mean", "max", "min"] = Field(
        "mean", description="how to fuse the heads of a layer", json_schema_extra=changes_numbers("attention maps")
    )
    discard_ratio: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the weakest attention to drop in each layer",
        json_schema_extra=changes_numbers("attention maps"),
    )


class OverlaySettings(Settings):
    """The look of overlays."""

    overlay_opacity: float = Field(0.7, ge=0, le=1, description="opacity of the hottest spot of an overlay")
    colormap: ColormapName = Field(
        "plasma", description="colour map of overlays and figures, a name of the package cmap"
    )
    style: Literal["heat", "article"] = Field("heat", description="look of overlays; article: a white veil")
    scale: ScaleName = Field(
        "auto",
        description="map value drawn hottest: a number; photo: each photo's own; model: one for all, kept with the "
        "model; run: one for all, from up to 64 photos of the first run like this; auto: the model's if it has one for "
        "these labels, else photo",
    )


class DecodeSettings(Settings):
    """From a file to pixels."""

    exact_decode: bool = Field(
        False,
        description="decode JPEGs in full, not at libjpeg's reduced scales",
        json_schema_extra=changes_numbers(),
    )
    rescale: bool = Field(
        True,
        description="rescale pixels to 0..1 as the checkpoint says; the article did not",
        json_schema_extra=changes_numbers(),
    )
    white_level: Annotated[Annotated[float, Field(gt=0, allow_inf_nan=False)] | None, BeforeValidator(none_or)] = Field(
        None,
        description="value shown as white in TIFF, PNG and PGM deeper than 8 bits, say 4095 for 12 bits in 16; "
        "none: declared by the file, else the largest of its type (floats: of the photo)",
        json_schema_extra=changes_numbers(),
    )
    max_pixels: int = Field(MAX_PIXELS, ge=1, description="refuse photos with more pixels, before decoding them")
    decode_seconds: float = Field(
        DECODE_SECONDS, gt=0, le=86_400, description="give up on a photo after this time in its decoder"
    )


class LabelledDataSettings(Settings):
    """Labelled photos as input, and a folder for the results outside them."""

    data: LabelledData = Field(description="folder with a subfolder per class, or a CSV path,label[,split]")
    out: OutFolder = Field(description="folder for the results")

    @field_validator("out")
    @classmethod
    def _check_out_is_outside(cls, out: Path, info: ValidationInfo) -> Path:
        return check_outside(out, info.data.get("data"))


class GroupedDataSettings(LabelledDataSettings):
    """Labelled photos in families, which stay on one side of a split."""

    data: LabelledData = Field(
        description="folder with a subfolder per class; or a CSV path,label[,split]; or a results folder with reviews"
    )
    group: Group = Field(
        None,
        description="photos that stay together: 'REGEX' on the path (its first capture is the group), column:NAME of a "
        "CSV, photo: each by itself, or similar: those that look alike to the model; none: the rule of --splits",
    )
    splits: NoneOrPath = Field(
        None,
        description="CSV of the splits of groups: kept, and extended by new groups; none: OUT/reviews/splits.csv of a "
        "results folder, for other data no such file",
    )
    labels: NoneOrPath = Field(
        None, description="CSV with the columns path and NAME for --group column:NAME; none: DATA, if a CSV"
    )

    @field_validator("splits")
    @classmethod
    def _check_splits(cls, file: Path | None) -> Path | None:
        return None if file is None else resolve_path(file)

    @field_validator("labels")
    @classmethod
    def _check_labels(cls, file: Path | None) -> Path | None:
        return None if file is None else resolve_file(file)
