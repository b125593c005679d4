"""Every setting of an explanation, checked once, with all errors at once."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from pipeline.config import (
    ColormapName,
    Device,
    InputSize,
    Label,
    NoneOrLabel,
    OutFolder,
    Settings,
    check_explained,
    resolve,
)
from pipeline.maps.methods import BACKWARD, Method
from pipeline.photos.decode import MAX_PIXELS


def _file_or_url(image: object) -> object:
    """A URL stays text, anything else becomes the path of a file that is there."""
    if not isinstance(image, str | Path) or image == "":
        raise ValueError("is empty; name a file or a URL")
    scheme, separator, _ = str(image).partition("://")
    if separator:
        if scheme.lower() not in ("http", "https"):
            raise ValueError("only http and https are fetched; name a file by its path")
        return image
    file = resolve(Path(image))
    if not file.exists():
        raise ValueError("no such file")
    if not file.is_file():
        raise ValueError("is a folder; vitrollout run takes folders" if file.is_dir() else "is not a regular file")
    return file


def _check_layer(layer: int) -> int:
    if layer == 0:
        raise ValueError("layers count from 1, and from -1 backwards")
    return layer


class ExplainConfig(Settings):
    """The settings of one explanation. Every option of `vitrollout explain` is a field here.

    Those that decide the numbers mean what they mean in `RunConfig`.
    """

    image: Annotated[Path | str, BeforeValidator(_file_or_url)] = Field(description="a photo: a file, or its URL")
    out: OutFolder = Field(Path("explained"), description="folder for the figures; those of another photo are replaced")
    layer: Annotated[int, AfterValidator(_check_layer)] = Field(
        -1, description="the layer whose heads are shown: 1 is the first, -1 the last"
    )
    model: str = Field("bundled", description="'bundled', a checkpoint folder, or a Hugging Face id[@revision]")
    input_size: InputSize = Field(
        None,
        description="model input in pixels, N or HEIGHTxWIDTH: more gives a finer map; none: the checkpoint's own",
    )
    method: Method = Field("rollout", description="what makes the map")
    target: Label = Field(
        "top1", description=f"label, or its id, that {', '.join(BACKWARD)} explain; top1: the most likely one"
    )
    versus: NoneOrLabel = Field(None, description="explain the target rather than this label")
    head_fusion: Literal["mean", "max", "min"] = Field("mean", description="how a layer's heads become one")
    discard_ratio: float = Field(0.0, ge=0, lt=1, description="share of the weakest attention to drop in each layer")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field("auto", description="of the forward pass")
    device: Device = Field("auto", description="auto, cpu, mps, cuda or cuda:N")
    overlay_opacity: float = Field(0.7, ge=0, le=1, description="of the hottest spot of an overlay")
    colormap: ColormapName = Field("plasma", description="colour map of the figures, a name of the package cmap")
    style: Literal["heat", "article"] = Field("heat", description="look of the overlay; article: a white veil")
    exact_decode: bool = Field(False, description="decode JPEGs in full, not at libjpeg's reduced scales")
    rescale: bool = Field(True, description="rescale pixels to 0..1 as the checkpoint says; the article did not")
    max_pixels: int = Field(MAX_PIXELS, ge=1, description="refuse photos with more pixels, before decoding them")
    decode_seconds: float = Field(60, gt=0, le=86_400, description="give up on a photo that takes longer to decode")
    fetch_seconds: float = Field(30, gt=0, le=86_400, description="give up on a URL that takes longer")
    fetch_bytes: int = Field(100_000_000, ge=1, description="give up on a URL that sends more")
    allow_private: bool = Field(False, description="fetch from private, loopback and link-local addresses too")

    @field_validator("target", "versus")
    @classmethod
    def _check_explained(cls, label: str | None, info: ValidationInfo) -> str | None:
        return check_explained(label, [info.data.get("method", BACKWARD[0])])
