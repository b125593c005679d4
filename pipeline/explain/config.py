"""Every setting of an explanation, checked once, with all errors at once."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from pipeline.maps.methods import AUTO, LABEL_METHODS, WantedMethod
from pipeline.setting_types import (
    Label,
    NoneOrLabel,
    OutFolder,
    PositiveLabels,
    ScaleName,
    check_explained,
    check_positive,
    resolve_path,
)
from pipeline.settings import DecodeSettings, MapSettings, ModelSettings, OverlaySettings, TileSettings


def _check_file_or_url(image: object) -> object:
    """Return a URL as text, anything else as the path of an existing file."""
    if not isinstance(image, str | Path) or image == "":
        raise ValueError("is empty; name a file or a URL")
    scheme, separator, _ = str(image).partition("://")
    if separator:
        if scheme.lower() not in ("http", "https"):
            raise ValueError("only http and https are fetched; name a file by its path")
        return image
    file = resolve_path(Path(image))
    if not file.exists():
        raise ValueError("no such file")
    if not file.is_file():
        raise ValueError("is a folder; vitrollout run takes folders" if file.is_dir() else "is not a regular file")
    return file


def _check_layer(layer: int) -> int:
    if layer == 0:
        raise ValueError("layers count from 1, and from -1 backwards")
    return layer


class ExplainConfig(DecodeSettings, OverlaySettings, MapSettings, TileSettings, ModelSettings):
    """The settings of one explanation. Every option of `vitrollout explain` is a field here.

    Settings shared with `RunConfig` have the same effect on the numbers.
    """

    image: Annotated[Path | str, BeforeValidator(_check_file_or_url)] = Field(description="a photo: a file, or its URL")
    out: OutFolder = Field(Path("explained"), description="folder for the figures; replaces figures of other photos")
    layer: Annotated[int, AfterValidator(_check_layer)] = Field(
        -1, description="layer of the heads to show: 1 is the first, -1 the last"
    )
    method: WantedMethod = Field(
        AUTO,
        description="map method; auto: the one that vitrollout trust --save found to hold for the model, or else "
        "rollout",
    )
    target: Label = Field(
        "top1",
        description=f"label, or its id, for {', '.join(LABEL_METHODS)}; top1: the most likely one; defects: all of "
        "them together",
    )
    versus: NoneOrLabel = Field(
        None, description="explain the target rather than this label; good: all classes but the defects"
    )
    positive: PositiveLabels = Field(
        (),
        description="LABEL[,LABEL...]: the classes of --target defects; auto: those of the model's decision, or all "
        "but ok, good, normal, functional",
        json_schema_extra={"none": "auto"},
    )
    scale: ScaleName = Field(
        "auto",
        description="map value drawn hottest: a number; photo: the photo's own; model: that kept with the model; "
        "auto: the model's if it has one for these labels, else photo",
    )
    fetch_seconds: float = Field(30, gt=0, le=86_400, description="give up on a URL after this time")
    fetch_bytes: int = Field(100_000_000, ge=1, description="give up on a URL after this much data")
    allow_private: bool = Field(False, description="fetch from private, loopback and link-local addresses too")

    @field_validator("target", "versus")
    @classmethod
    def _check_explained_label(cls, label: str | None, info: ValidationInfo) -> str | None:
        return check_explained(label, [info.data.get("method", LABEL_METHODS[0])])

    @field_validator("positive")
    @classmethod
    def _check_positive(cls, positive: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        return check_positive(positive, info.data.get("target"))

    @field_validator("scale")
    @classmethod
    def _check_scale(cls, scale: str | float) -> str | float:
        if scale == "run":
            raise ValueError("is a scale of many photos; name model, photo or a number")
        return scale
