"""Every setting of a run, checked once, with all errors at once."""

import difflib
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from pipeline.errors import ConfigError
from pipeline.maps.methods import BACKWARD, Method
from pipeline.photos.decode import MAX_PIXELS

_LARGEST_INPUT = 16_384  # pixels of a side: over a million patches


class Settings(BaseModel):
    """A frozen set of settings that refuses unknown names and reports all errors in one `ConfigError`."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(*(self._explain(problem) for problem in error.errors())) from None

    @classmethod
    def _explain(cls, problem: Any) -> str:
        name = str(problem["loc"][0])
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, cls.model_fields, n=1)
            return f"{name}: no such setting" + (f"; did you mean {near[0]}?" if near else "")
        if problem["type"] == "missing":
            return f"{name}: must be given"
        reason = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        wanted = reason if problem["type"] == "value_error" else f"must be {reason}"
        return f"{name} = {problem['input']}: {wanted}"


def none_or(value: object) -> object:
    """The word `none`, as a command line has it, means None."""
    return None if value == "none" else value


def split_at_commas(value: object) -> object:
    """`open,short` and ("open", "short") -> ("open", "short"), each once."""
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        return value
    names = (name.strip() for part in parts for name in str(part).split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def _number_as_text(value: object) -> object:
    """An id in a TOML file may be written as a number."""
    return str(value) if isinstance(value, int) else value


def _parse_size(value: object) -> object:
    """`384` -> (384, 384); `384x512` -> (384, 512), height first; pairs stay what they are."""
    if none_or(value) is None:
        return None
    sides = [str(side) for side in value] if isinstance(value, tuple | list) else str(value).lower().split("x")
    if len(sides) not in (1, 2) or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise ValueError("must be pixels, as 384 or HEIGHTxWIDTH")
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


def resolve(path: Path) -> Path:
    """An absolute path that the system can be asked about, be there a file or not."""
    try:
        path = path.expanduser().resolve()
        path.exists()
    except (OSError, RuntimeError) as error:  # too long, behind a closed folder; nobody's home, a loop of links
        raise ValueError(f"can't be looked at: {getattr(error, 'strerror', None) or error}") from None
    return path


def _check_named(path: object) -> object:
    if path == "":  # an unset variable of a shell script; as a path it would be the current folder
        raise ValueError("is empty; name a folder")
    return path


def _check_out_folder(folder: Path) -> Path:
    folder = resolve(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError("is a file; name a folder")
    try:
        os.fspath(folder).encode()
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8, and neither Parquet nor a report can be written there; rename it") from None
    return folder


def _check_labelled_data(data: Path) -> Path:
    data = resolve(data)
    if not data.exists():
        raise ValueError("no such folder or CSV file")
    return data


def check_outside(out: Path, source: Path | None) -> Path:
    """Refuse to write pictures where pictures are read; a `source` that is wrong itself, or a CSV, is no matter."""
    if source is not None and source.is_dir() and out.is_relative_to(source):
        raise ValueError("lies inside the input folder, so pictures would become input; name a folder outside it")
    return out


def _check_device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise ValueError("must be auto, cpu, mps, cuda or cuda:N")
    return name


def check_explained(label: str | None, methods: Collection[Method]) -> str | None:
    """Refuse to name a label where no map explains one."""
    if label not in (None, "top1") and not set(methods) & set(BACKWARD):
        raise ValueError(
            f"{', '.join(methods)} gives the same map whatever the label; "
            f"add a --method that explains one: {', '.join(BACKWARD)}"
        )
    return label


def _check_colormap(name: str) -> str:
    from cmap import Colormap

    try:
        Colormap(name)
    except Exception:  # cmap raises several kinds for a name that it can't parse
        raise ValueError("no such colour map; try plasma, viridis, inferno, cividis or turbo") from None
    return name


OutFolder = Annotated[Path, BeforeValidator(_check_named), AfterValidator(_check_out_folder)]
LabelledData = Annotated[Path, BeforeValidator(_check_named), AfterValidator(_check_labelled_data)]
Label = Annotated[str, BeforeValidator(_number_as_text)]
NoneOrLabel = Annotated[Label | None, BeforeValidator(none_or)]
NoneOrPath = Annotated[Path | None, BeforeValidator(none_or)]
Device = Annotated[str, AfterValidator(_check_device)]
AutoCount = Annotated[Literal["auto"] | int, BeforeValidator(_parse_auto_count)]
ColormapName = Annotated[str, AfterValidator(_check_colormap)]
InputSize = Annotated[tuple[int, int] | None, BeforeValidator(_parse_size)]


class RunConfig(Settings):
    """The settings of one run. Every option of `vitrollout run` is a field here, and the other way round."""

    input: Annotated[Path, BeforeValidator(_check_named)] = Field(
        description="folder of photos; searched with all its subfolders"
    )
    out: OutFolder = Field(Path("results"), description="results folder; it belongs to this one input folder")
    model: str = Field("bundled", description="'bundled', a checkpoint folder, or a Hugging Face id[@revision]")
    input_size: InputSize = Field(
        None,
        description="model input in pixels, N or HEIGHTxWIDTH: more gives a finer map; none: the checkpoint's own",
    )
    method: Annotated[tuple[Method, ...], BeforeValidator(split_at_commas)] = Field(
        ("rollout",), description="what makes the maps; of several the first is drawn, the others go to more_maps"
    )
    target: Label = Field(
        "top1",
        description=f"label, or its id, that {', '.join(BACKWARD)} explain; top1: each photo's; expected: by --labels",
    )
    versus: NoneOrLabel = Field(None, description="explain the target rather than this label")
    labels: NoneOrPath = Field(None, description="CSV path,expected or path,label with the labels that are expected")
    head_fusion: Literal["mean", "max", "min"] = Field("mean", description="how a layer's heads become one")
    discard_ratio: float = Field(0.0, ge=0, lt=1, description="share of the weakest attention to drop in each layer")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field("auto", description="of the forward pass")
    device: Device = Field("auto", description="auto, cpu, mps, cuda or cuda:N")
    batch_size: AutoCount = Field("auto", description="photos in one forward pass")
    workers: AutoCount = Field("auto", description="processes that decode photos; auto: one a core")
    pattern: Annotated[str | None, BeforeValidator(none_or)] = Field(
        None, description="only files whose name, or path where it holds a /, matches this glob"
    )
    limit: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(none_or)] = Field(
        None, description="process at most so many photos in this run"
    )
    overlay_size: Annotated[Annotated[int, Field(ge=16)] | None, BeforeValidator(none_or)] = Field(
        1024, description="longest side of an overlay in pixels; none: draw no overlays"
    )
    overlay_opacity: float = Field(0.7, ge=0, le=1, description="of the hottest spot of an overlay")
    colormap: ColormapName = Field("plasma", description="colour map of the overlays, a name of the package cmap")
    style: Literal["heat", "article"] = Field("heat", description="look of the overlays; article: a white veil")
    report: bool = Field(True, description="write report.html at the end")
    retry_failed: bool = Field(False, description="process files again that failed before")
    exact_decode: bool = Field(False, description="decode JPEGs in full, not at libjpeg's reduced scales")
    rescale: bool = Field(True, description="rescale pixels to 0..1 as the checkpoint says; the article did not")
    follow_links: bool = Field(False, description="enter symlinked folders")
    compare_runs: int = Field(20, ge=0, description="warn of what differs from the last so many runs; 0: never")
    repair: bool = Field(False, description="set damaged parts of the table aside; their photos run again")
    rebind: bool = Field(False, description="the input folder has moved: go on with its results folder")
    max_pixels: int = Field(MAX_PIXELS, ge=1, description="refuse photos with more pixels, before decoding them")
    decode_seconds: float = Field(60, gt=0, le=86_400, description="give up on a photo that takes longer to decode")
    part_rows: int = Field(1000, ge=1, description="commit a part of the table after so many rows ...")
    part_seconds: float = Field(60, gt=0, description="... or so many seconds, whichever comes first")

    @field_validator("input")
    @classmethod
    def _check_input(cls, folder: Path) -> Path:
        folder = resolve(folder)
        if not folder.exists():
            raise ValueError("no such folder")
        if not folder.is_dir():
            raise ValueError("is a file; name the folder that holds it (and --pattern to narrow it)")
        return folder

    @field_validator("out")
    @classmethod
    def _check_out(cls, folder: Path, info: ValidationInfo) -> Path:
        return check_outside(folder, info.data.get("input"))

    @field_validator("method")
    @classmethod
    def _check_method(cls, methods: tuple[Method, ...]) -> tuple[Method, ...]:
        if not methods:
            raise ValueError("names no method")
        return methods

    @field_validator("target", "versus")
    @classmethod
    def _check_explained(cls, label: str | None, info: ValidationInfo) -> str | None:
        return check_explained(label, info.data.get("method", BACKWARD))

    @field_validator("labels")
    @classmethod
    def _check_labels(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        target = info.data.get("target")  # None: is wrong itself
        if file is None and target == "expected":
            raise ValueError("name the CSV that target = expected takes the labels from")
        if file is None:
            return None
        if target not in (None, "expected"):
            raise ValueError("is only read with target = expected")
        file = resolve(file)
        if not file.is_file():
            raise ValueError("no such file")
        return file
