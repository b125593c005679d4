"""The settings of drawing overlays from the rows of a table."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic.config import JsonDict

from pipeline.results.where_setting import NoneOrCondition
from pipeline.setting_types import AutoCount, ColormapName, OutLocation, ScaleName, none_or
from pipeline.settings import Settings

_AS_THE_RUN: JsonDict = {"none": "as the run"}


class OverlaysConfig(Settings):
    """The settings of `vitrollout overlays`. The look is that of each row's run, unless another one is named."""

    out: OutLocation = Field(description="results folder of a run, or its URL")
    where: NoneOrCondition = Field(
        None, description='only photos with this in their row, such as "score<0.8" or "label==spur and score<0.8"'
    )
    limit: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(none_or)] = Field(
        None, description="draw at most this many"
    )
    redraw: bool = Field(False, description="draw overlays again that are there already")
    workers: AutoCount = Field("auto", description="processes for decoding photos; auto: one per core")
    overlay_size: Annotated[int, Field(ge=16)] | None = Field(
        None, description="longest side of an overlay in pixels", json_schema_extra=_AS_THE_RUN
    )
    overlay_opacity: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="opacity of the hottest spot of an overlay", json_schema_extra=_AS_THE_RUN
    )
    colormap: ColormapName | None = Field(
        None, description="colour map of overlays, a name of the package cmap", json_schema_extra=_AS_THE_RUN
    )
    scale: ScaleName | None = Field(
        None,
        description="map value drawn hottest: a number, photo (each photo's own), or model or run, as kept by a run",
        json_schema_extra=_AS_THE_RUN,
    )
    style: Literal["heat", "article"] | None = Field(
        None, description="look of overlays, heat or article (a white veil)", json_schema_extra=_AS_THE_RUN
    )
