"""Every setting of an export, checked once, with all errors at once."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from pipeline.setting_types import AlsoModel, Group, NoneOrPath, OutFolder, none_or, resolve_file, split_at_commas
from pipeline.settings import Settings

FormatName = Literal[
    "imagefolder", "csv", "coco", "yolo", "hf", "voc", "florence2", "paligemma", "messages", "swift", "label-studio"
]
FORMAT_NAMES: tuple[FormatName, ...] = get_args(FormatName)

_OFF_ONE = 1e-6  # rounding of shares


def _parse_shares(value: object) -> object:
    """Convert `0.7,0.15,0.15` to three numbers."""
    if none_or(value) is None:
        return None
    parts = value.split(",") if isinstance(value, str) else value
    try:
        shares = [float(part) for part in parts] if isinstance(parts, list | tuple) else []
    except ValueError:
        shares = []
    if len(shares) != 3 or min(shares) < 0 or shares[0] <= 0 or abs(sum(shares) - 1) > _OFF_ONE:
        raise ValueError("must be three shares that add up to 1: train, validation, test, such as 0.7,0.15,0.15")
    return tuple(shares)


def _check_results(folder: Path) -> Path:
    if not folder.is_dir():
        raise ValueError("no such folder; name the --out of a run")
    return folder


def _check_formats(formats: tuple[str, ...]) -> tuple[str, ...]:
    if not formats:
        raise ValueError(f"must name a format: {', '.join(FORMAT_NAMES)}")
    return formats


class ExportConfig(Settings):
    """The settings of one export. Every option of `vitrollout export` is a field here."""

    results: Annotated[OutFolder, AfterValidator(_check_results)] = Field(description="results folder of a run")
    out: OutFolder = Field(description="folder for the data set; created")
    format: Annotated[tuple[FormatName, ...], BeforeValidator(split_at_commas), AfterValidator(_check_formats)] = Field(
        description=f"FORMAT[,FORMAT...]: {', '.join(FORMAT_NAMES)}; several get a subfolder each"
    )
    group: Group = Field(
        None,
        description="photos of one object, kept on one side of the split: 'REGEX' on the path, column:NAME of "
        "--labels, or photo; asked once, then remembered in the results folder",
    )
    shares: Annotated[tuple[float, float, float] | None, BeforeValidator(_parse_shares)] = Field(
        None,
        description="shares of train, validation and test",
        json_schema_extra={"none": "0.7,0.15,0.15"},
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the splits")
    labels: NoneOrPath = Field(None, description="CSV path,label with the labels of photos nobody has reviewed")
    also: AlsoModel = Field(
        None,
        description='"model>=SCORE": also train on unreviewed photos with such a score, under the label of the model',
    )
    classes: Annotated[tuple[str, ...], BeforeValidator(split_at_commas)] = Field(
        (), json_schema_extra={"none": "all"}, description="LABEL[,LABEL...]: photos and boxes with these labels only"
    )
    positive: Annotated[tuple[str, ...], BeforeValidator(split_at_commas)] = Field(
        (),
        json_schema_extra={"none": "auto"},
        description="LABEL[,LABEL...]: classes counted as defects; auto: all but ok, good, normal, functional",
    )
    rename: NoneOrPath = Field(None, description="CSV label,name with other names for labels in the data set")
    ok_share: float = Field(
        1.0, ge=0, le=1, description="formats with boxes: at most this share of photos without a defect in each split"
    )
    photos: Literal["copy", "link"] = Field(
        "copy", description="copy photos, or link them (an edit of the data set then changes the archive)"
    )
    tiles: Annotated[Annotated[int, Field(ge=32)] | None, BeforeValidator(none_or)] = Field(
        None, description="formats with boxes: cut photos into tiles of this many pixels, for small defects"
    )
    task: Literal["od", "dense", "grounding", "caption"] = Field("od", description="florence2: task of the examples")
    caption: Annotated[str | None, BeforeValidator(none_or)] = Field(
        None, description='florence2: text of task caption, such as "a {label} at the {where}"'
    )
    layout: Literal["roboflow", "coco2017"] = Field(
        "roboflow", description="coco: annotations beside the pictures of each split, or in annotations/"
    )
    licence: str = Field("unknown", description="licence of the photos, for the data set card (SPDX id)")
    replace: bool = Field(False, description="replace the folder if it holds an earlier export")

    @field_validator("labels", "rename")
    @classmethod
    def _check_file(cls, file: Path | None) -> Path | None:
        return None if file is None else resolve_file(file)

    @field_validator("out")
    @classmethod
    def _check_out_is_elsewhere(cls, out: Path, info: ValidationInfo) -> Path:
        results: Any = info.data.get("results")
        if results is not None and (out.is_relative_to(results) or results.is_relative_to(out)):
            raise ValueError("must lie outside the results folder; name another folder")
        return out
