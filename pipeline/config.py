"""Every setting of a run, checked once, with all errors at once."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from pipeline.maps.methods import AUTO, LABEL_METHODS, WantedMethod
from pipeline.overlays.choice import ALL, NONE, OverlayChoice, parse_overlay_choice
from pipeline.photos.list_names import LIST_EXTENSIONS
from pipeline.setting_types import (
    AnyLocation,
    AutoCount,
    Devices,
    Label,
    NoneOrLabel,
    NoneOrPath,
    OutLocation,
    PositiveLabels,
    check_any_method,
    check_explained,
    check_outside,
    check_positive,
    none_or,
    resolve_file,
    resolve_path,
    split_at_commas,
)
from pipeline.settings import BatchSettings, DecodeSettings, MapSettings, OverlaySettings, TileSettings, changes_numbers
from pipeline.storage.location import Location


def _parse_globs(value: object) -> object:
    return () if value in ("none", ("none",)) else split_at_commas(value)


_SAMPLED_OVERLAYS = 2000  # of a run into a store of objects, where each picture costs a request


def _check_overlays(text: str) -> str:
    if text != "auto":
        parse_overlay_choice(text)
    return text


class RunConfig(DecodeSettings, OverlaySettings, MapSettings, TileSettings, BatchSettings):
    """The settings of one run. Every option of `vitrollout run` is a field here, and the other way round."""

    input: AnyLocation = Field(
        description="folder of photos, searched with all its subfolders; or s3://BUCKET/PREFIX, gs://, az://; or a "
        "list: .txt with a path or URL a line, or .parquet with the column path"
    )
    out: OutLocation = Field(
        Path("results"), description="results folder, or s3://BUCKET/PREFIX; it belongs to this one input"
    )
    method: Annotated[tuple[WantedMethod, ...], BeforeValidator(split_at_commas), AfterValidator(check_any_method)] = (
        Field(
            (AUTO,),
            description="map methods; the first is drawn, the others go to the column more_maps; auto: the one that "
            "vitrollout trust --save found to hold for the model, or else rollout",
            json_schema_extra=changes_numbers(),
        )
    )
    target: Label = Field(
        "top1",
        description=f"label, or its id, for {', '.join(LABEL_METHODS)}; top1: each photo's own; defects: all of them "
        "together; expected: see --labels",
        json_schema_extra=changes_numbers("label maps"),
    )
    versus: NoneOrLabel = Field(
        None,
        description="explain the target rather than this label; good: all classes but the defects",
        json_schema_extra=changes_numbers("label maps"),
    )
    positive: PositiveLabels = Field(
        (),
        description="LABEL[,LABEL...]: the classes of --target defects; auto: those of the model's decision, or all "
        "but ok, good, normal, functional",
        json_schema_extra=changes_numbers("label maps") | {"none": "auto"},
    )
    labels: NoneOrPath = Field(
        None,
        description="CSV path,expected or path,label with the expected labels",
        json_schema_extra=changes_numbers("label maps"),
    )
    embeddings: bool = Field(
        False,
        description="write the features of each photo into the column embedding, 1 to 2 KB a photo",
        json_schema_extra=changes_numbers(),
    )
    keep_tiles: bool = Field(
        False,
        description="with windows: write label, scores and logits of each into OUT/tiles/, for pipeline.read_tiles",
        json_schema_extra=changes_numbers(),
    )
    workers: AutoCount = Field(
        "auto", description="processes for decoding photos, of each device; auto: one per core, shared by the devices"
    )
    devices: Devices = Field(
        None, description="N, all, or 0,2,3: several devices of the kind of --device, a process each; none: one, here"
    )
    engine: Literal["auto", "local", "ray"] = Field(
        "auto", description="local: the devices of this machine; ray: those of a Ray cluster; auto: local"
    )
    ray_address: Annotated[str | None, BeforeValidator(none_or)] = Field(
        None, description="of a Ray cluster, HOST:PORT; none: the one that Ray finds"
    )
    pattern: Annotated[str | None, BeforeValidator(none_or)] = Field(
        None, description="glob for the file name, or with a / in it for the path, in any case: only these files"
    )
    exclude: Annotated[tuple[str, ...], BeforeValidator(_parse_globs)] = Field(
        (), description="GLOB[,GLOB...], as in --pattern: leave such files and folders out"
    )
    hidden: bool = Field(
        False, description="take hidden files and folders too, and those of systems (thumbnails, waste baskets)"
    )
    limit: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(none_or)] = Field(
        None, description="process at most this many photos in this run"
    )
    sample: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(none_or)] = Field(
        None, description="process only this many photos, spread over all folders, the same ones every time"
    )
    overlays: Annotated[str, AfterValidator(_check_overlays)] = Field(
        "auto",
        description="photos with an overlay: none, failed (by decision, else by label), below:SCORE, "
        "label:LABEL[,LABEL...], sample:N (in each run) or all; auto: all, in a store of objects sample:2000",
    )
    overlay_size: Annotated[Annotated[int, Field(ge=16)] | None, BeforeValidator(none_or)] = Field(
        1024, description="longest side of an overlay in pixels; none: draw no overlays"
    )
    report: bool = Field(True, description="write report.html at the end")
    retry_failed: bool = Field(False, description="process photos again that failed before")
    follow_links: bool = Field(False, description="enter symlinked folders")
    compare_runs: int = Field(20, ge=0, description="compare with this many previous runs, warn of changes; 0 disables")
    repair: bool = Field(False, description="set damaged parts of the table aside; their photos run again")
    rebind: bool = Field(False, description="the input folder has moved: go on with its results folder")
    part_rows: int = Field(1000, ge=1, description="commit a part of the table after this many rows")
    part_seconds: float = Field(60, gt=0, description="commit a part of the table after this many seconds")

    @property
    def overlay_choice(self) -> OverlayChoice:
        """The photos to draw; labels as typed."""
        if self.overlay_size is None:
            return NONE
        if self.overlays != "auto":
            return parse_overlay_choice(self.overlays)
        return ALL if isinstance(self.out, Path) else OverlayChoice("sample", count=_SAMPLED_OVERLAYS)

    @field_validator("input")
    @classmethod
    def _check_input(cls, folder: Location) -> Location:
        if not isinstance(folder, Path):
            return folder
        folder = resolve_path(folder)
        if not folder.exists():
            raise ValueError("no such folder")
        if not folder.is_dir():
            if folder.name.endswith(LIST_EXTENSIONS):
                return folder
            lists = " or ".join(LIST_EXTENSIONS)
            raise ValueError(f"is a file; name its folder (and --pattern to narrow it), or a list of photos ({lists})")
        return folder

    @field_validator("out")
    @classmethod
    def _check_out(cls, place: Location, info: ValidationInfo) -> Location:
        return check_outside(place, info.data.get("input"))

    @field_validator("target", "versus")
    @classmethod
    def _check_explained_label(cls, label: str | None, info: ValidationInfo) -> str | None:
        return check_explained(label, info.data.get("method", LABEL_METHODS))

    @field_validator("positive")
    @classmethod
    def _check_positive(cls, positive: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        return check_positive(positive, info.data.get("target"))

    @field_validator("labels")
    @classmethod
    def _check_labels_file(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        target = info.data.get("target")  # None: invalid, reported separately
        if file is None and target == "expected":
            raise ValueError("must name a CSV with the labels for target = expected")
        if file is None:
            return None
        if target not in (None, "expected"):
            raise ValueError("is only read with target = expected")
        return resolve_file(file)
