"""Every setting of an explanation, checked once, with all errors at once."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from pipeline.maps.methods import LABEL_METHODS, MethodName
from pipeline.setting_types import Label, NoneOrLabel, OutFolder, check_explained, resolve_path
from pipeline.settings import DecodeSettings, MapSettings, ModelSettings, OverlaySettings


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


class ExplainConfig(DecodeSettings, OverlaySettings, MapSettings, ModelSettings):
    """The settings of one explanation. Every option of `vitrollout explain` is a field here.

    Settings shared with `RunConfig` have the same effect on the numbers.
    """

    image: Annotated[Path | str, BeforeValidator(_check_file_or_url)] = Field(description="a photo: a file, or its URL")
    out: OutFolder = Field(Path("explained"), description="folder for the figures; replaces figures of other photos")
    layer: Annotated[int, AfterValidator(_check_layer)] = Field(
        -1, description="layer of the heads to show: 1 is the first, -1 the last"
    )
    method: MethodName = Field("rollout", description="map method")
    target: Label = Field(
        "top1", description=f"label, or its id, for {', '.join(LABEL_METHODS)}; top1: the most likely one"
    )
    versus: NoneOrLabel = Field(None, description="explain the target rather than this label")
    fetch_seconds: float = Field(30, gt=0, le=86_400, description="give up on a URL after this time")
    fetch_bytes: int = Field(100_000_000, ge=1, description="give up on a URL after this much data")
    allow_private: bool = Field(False, description="fetch from private, loopback and link-local addresses too")

    @field_validator("target", "versus")
    @classmethod
    def _check_explained_label(cls, label: str | None, info: ValidationInfo) -> str | None:
        return check_explained(label, [info.data.get("method", LABEL_METHODS[0])])
