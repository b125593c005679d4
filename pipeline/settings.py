"""Shared by the settings of all commands: base classes, types, checks, and one error for all mistakes at once."""

import difflib
import logging
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
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
from pipeline.maps.methods import DEFAULT_LABEL_METHOD, LABEL_METHODS, METHODS, MethodName
from pipeline.photos.decode import MAX_PIXELS
from pipeline.photos.loader import DECODE_SECONDS

log = logging.getLogger(__name__)

_LARGEST_INPUT = 16_384  # pixels of a side: over a million patches

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
        return f"{name} = {problem['input']}: {expected}"

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


def none_or(value: object) -> object:
    """Convert the word `none` of a command line to None."""
    return None if value == "none" else value


def split_at_commas(value: object) -> object:
    """Convert `open,short` to ("open", "short"), without repetitions; tuples and lists of such texts too."""
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        return value
    names = (name.strip() for part in parts for name in str(part).split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def resolve_path(path: Path) -> Path:
    """Return the absolute path. Fails if it cannot be stat'ed."""
    try:
        path = path.expanduser().resolve()
        path.exists()
    except (OSError, RuntimeError) as error:  # name too long, no permission, unknown user in `~`, symlink loop
        raise ValueError(f"can't be accessed: {getattr(error, 'strerror', None) or error}") from None
    return path


def resolve_file(path: Path) -> Path:
    """Return the absolute path of a file. Fails if there is none."""
    if not (path := resolve_path(path)).is_file():
        raise ValueError("no such file")
    return path


def check_outside(out: Path, source: Path | None) -> Path:
    """Reject an output folder inside the input folder.

    Skipped when `source` is invalid (reported separately) or a CSV.
    """
    if source is not None and source.is_dir() and out.is_relative_to(source):
        raise ValueError("lies inside the input folder, so pictures would become input; name a folder outside it")
    return out


def check_explained(label: str | None, methods: Collection[MethodName]) -> str | None:
    """Reject a label to explain if no method explains labels."""
    if label not in (None, "top1") and not set(methods) & set(LABEL_METHODS):
        raise ValueError(
            f"{', '.join(methods)} gives the same map for every label; "
            f"add a --method with label-dependent maps: {', '.join(LABEL_METHODS)}"
        )
    return label


def check_any_method(methods: tuple[MethodName, ...]) -> tuple[MethodName, ...]:
    """Reject an empty list of methods."""
    if not methods:
        raise ValueError(f"must name a method: {', '.join(METHODS)}")
    return methods


def _number_to_text(value: object) -> object:
    """Convert an id, as TOML files hold them, to text."""
    return str(value) if isinstance(value, int) else value


def _parse_size(value: object) -> object:
    """Convert `384` to (384, 384) and `384x512` to (384, 512), height first; pairs pass."""
    if none_or(value) is None:
        return None
    sides = [str(side) for side in value] if isinstance(value, tuple | list) else str(value).lower().split("x")
    if len(sides) not in (1, 2) or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise ValueError("must be pixels, such as 384, or HEIGHTxWIDTH")
    if max(map(int, sides)) > _LARGEST_INPUT:
        raise ValueError(f"is more than any model takes; at most {_LARGEST_INPUT}")
    return (int(sides[0]), int(sides[-1]))


def _parse_auto_count(value: object) -> object:
    if value == "auto":
        return value
    try:
        count = int(str(value))
    except ValueError:
        count = -1
    if count < 1:
        raise ValueError("must be auto or a whole number of at least 1")
    return count


def _check_not_empty(path: object) -> object:
    if path == "":  # an unset variable of a shell script; as a path it would be the current folder
        raise ValueError("is empty; name a folder")
    return path


def _check_out_folder(folder: Path) -> Path:
    folder = resolve_path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError("is a file; name a folder")
    try:
        os.fspath(folder).encode()
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8, so neither Parquet nor a report can be written there; rename it") from None
    return folder


def _check_labelled_data(data: Path) -> Path:
    data = resolve_path(data)
    if not data.exists():
        raise ValueError("no such folder or CSV file")
    return data


def _check_device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise ValueError("must be auto, cpu, mps, cuda or cuda:N")
    return name


def _check_colormap(name: str) -> str:
    from cmap import Colormap

    try:
        Colormap(name)
    except Exception:  # cmap raises several kinds for names it can't parse
        raise ValueError("no such colour map; try plasma, viridis, inferno, cividis or turbo") from None
    return name


InputFolder = Annotated[Path, BeforeValidator(_check_not_empty)]
OutFolder = Annotated[Path, BeforeValidator(_check_not_empty), AfterValidator(_check_out_folder)]
LabelledData = Annotated[Path, BeforeValidator(_check_not_empty), AfterValidator(_check_labelled_data)]
Label = Annotated[str, BeforeValidator(_number_to_text)]
NoneOrLabel = Annotated[Label | None, BeforeValidator(none_or)]
NoneOrPath = Annotated[Path | None, BeforeValidator(none_or)]
AutoCount = Annotated[Literal["auto"] | int, BeforeValidator(_parse_auto_count)]
InputSize = Annotated[tuple[int, int] | None, BeforeValidator(_parse_size)]


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
    device: Annotated[str, AfterValidator(_check_device)] = Field("auto", description="auto, cpu, mps, cuda or cuda:N")


class BatchSettings(ModelSettings):
    """The size of a forward pass."""

    batch_size: AutoCount = Field("auto", description="photos in one forward pass")


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

    @model_validator(mode="before")
    @classmethod
    def _choose_label_method(cls, values: Any) -> Any:
        """Take a method that explains labels for a label to explain, if no method is named."""
        if not isinstance(values, dict) or "method" in values:
            return values
        labels = [name for name in ("target", "versus") if none_or(values.get(name)) not in (None, "top1")]
        if not labels:
            return values
        log.info("method = %s: explains labels, as %s needs", DEFAULT_LABEL_METHOD, " and ".join(labels))
        return values | {"method": DEFAULT_LABEL_METHOD}


class OverlaySettings(Settings):
    """The look of overlays."""

    overlay_opacity: float = Field(0.7, ge=0, le=1, description="opacity of the hottest spot of an overlay")
    colormap: Annotated[str, AfterValidator(_check_colormap)] = Field(
        "plasma", description="colour map of overlays and figures, a name of the package cmap"
    )
    style: Literal["heat", "article"] = Field("heat", description="look of overlays; article: a white veil")


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
