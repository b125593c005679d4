"""The colour scale of a model's maps, the same for all photos: measured on validation photos, so good ones stay dark.

`map_scale.json` in a model's folder holds it. `vitrollout finetune` and `vitrollout trust --save` write it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import numpy as np
from pydantic import Field

from pipeline.errors import ModelError, one_line
from pipeline.maps.methods import DEFAULT_LABEL_METHOD, MethodName
from pipeline.model.targets import Targets
from pipeline.model_json import read_model_json, write_model_json
from pipeline.records import Floats, Pixels

if TYPE_CHECKING:  # torch takes a second to import
    from pipeline.model.classifier import Classifier

SCALE_FILE = "map_scale.json"

Span = tuple[float, float]
TargetKind = Literal["label", "defects"]
VersusKind = Literal["good"] | None
Item = TypeVar("Item")

_MOST_PHOTOS = 100  # of one scale
_USUAL = 50.0  # percentile of the hottest cells of photos with a defect: missed defects, without heat, don't move it
_HOT_FROM = 0.5  # of this value, drawn as the hottest: overlays are smoothed, which dims the heat of small defects
_Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class MapScale:
    """The scale of one method for one kind of labels.

    Attributes:
        method: of the maps.
        target: the explained labels: `label`, each photo's own or one of the user's; or `defects`, all together.
        versus: `good`, all other classes are set against them; None: no label.
        low, high: map values drawn as the coldest and the hottest.
        photos: number of validation photos behind them.
    """

    method: str
    target: TargetKind
    versus: VersusKind
    low: _Finite
    high: _Finite
    photos: int

    @property
    def span(self) -> Span:
        """The map values drawn as the coldest and the hottest."""
        return self.low, self.high


@dataclass(frozen=True)
class MapScales:
    """The content of `map_scale.json`.

    Attributes:
        scales: one for each method and kind of labels.
        model_digest: of the model's files, see `Checkpoint.digest`.
        input_size: (H, W) in pixels, or None for the model's own.
        precision: of the forward pass.
        version: of the format.
    """

    scales: tuple[MapScale, ...]
    model_digest: str
    input_size: tuple[int, int] | None
    precision: str
    version: Literal[1] = 1

    def find(self, method: MethodName, targets: Targets, classes: int) -> MapScale | None:
        """Return the scale for the maps of a method, or None.

        Args:
            method: of the maps.
            targets: the explained labels.
            classes: number of the model's classes.
        """
        target = "label" if targets.label is None or targets.label.name is None else "defects"
        versus: str | None = None
        if targets.versus:
            is_rest = len({*targets.label_ids, *targets.versus_ids}) == classes
            versus = "good" if target == "defects" and is_rest else "label"
        kinds = method, target, versus
        return next((one for one in self.scales if (one.method, one.target, one.versus) == kinds), None)


def measure_map_scales(
    classifier: "Classifier",
    pixels: Sequence[Pixels],
    label_ids: Sequence[int],
    positive_ids: Collection[int],
    methods: Sequence[MethodName] = (DEFAULT_LABEL_METHOD,),
) -> tuple[MapScale, ...]:
    """Measure the scales of a model on validation photos with a defect, at most a hundred for each scale.

    Half of their usual evidence is drawn as the hottest. Good photos stay darker, as far as their evidence is weaker.

    Args:
        classifier: the model.
        pixels: n of (3, H, W), the model's input.
        label_ids: n ids of the photos' true classes.
        positive_ids: ids of the classes counted as defects; without such photos, all count, for the scale of a label.
        methods: names of methods that explain labels.
    """
    from pipeline.maps.passes import MapPlan
    from pipeline.model.predictor import build_predictor

    defects = tuple(sorted(positive_ids))
    good = tuple(label_id for label_id in range(len(classifier.labels)) if label_id not in positive_ids)
    defective = [photo for photo, label_id in zip(pixels, label_ids, strict=True) if label_id in positive_ids]
    kinds: list[tuple[TargetKind, VersusKind, Sequence[Pixels]]] = [("label", None, defective or pixels)]
    if defects and good:
        kinds += [("defects", None, defective), ("defects", "good", defective)]
    scales = []
    for method, (target, versus, photos) in product(methods, kinds):
        plan = MapPlan((method,), target=defects if target == "defects" else (), versus=good if versus else ())
        chosen = spread_evenly(photos, _MOST_PHOTOS)
        maps = build_predictor(classifier, plan, "auto").predict(chosen).maps.get(method)  # (n, grid_h, grid_w)
        if maps is not None and (span := measure_span(maps, _USUAL)):
            low, usual = span
            scales.append(MapScale(method, target, versus, low, low + _HOT_FROM * (usual - low), len(chosen)))
    return tuple(scales)


def measure_span(maps: Floats, percentile: float) -> Span | None:
    """Return the map values to draw as the coldest and the hottest in every photo.

    Values below 0 speak against a label, so 0 is the coldest of signed maps. In maps without a sign it is the usual
    value of their coldest cell.

    Args:
        maps: (n, grid_h, grid_w), of one method.
        percentile: 0..100, of the maps' hottest cells, drawn as the hottest.

    Returns:
        The two values; None for maps that show nothing.
    """
    maps = maps[np.isfinite(maps).all(axis=(1, 2))]
    if not len(maps):
        return None
    low = max(0.0, float(np.median(maps.min(axis=(1, 2)))))
    high = float(np.percentile(maps.max(axis=(1, 2)), percentile))
    return (low, high) if high > low else None


def spread_evenly(items: Sequence[Item], count: int) -> list[Item]:
    """Return at most `count` of the items, at even distances."""
    count = min(count, len(items))
    return [items[number * len(items) // count] for number in range(count)]


def read_map_scales(folder: Path, model_digest: str) -> MapScales | None:
    """Read the scales of a model's folder; None without a file.

    Args:
        folder: of the model.
        model_digest: of the model's files, see `Checkpoint.digest`.

    Raises:
        ModelError: the file is damaged, or the model has other weights or preprocessing.
    """
    file = folder / SCALE_FILE
    try:
        scales = read_model_json(file, MapScales)
    except ValueError as error:
        raise _unusable_scales(file, str(error)) from None
    if scales is None:
        return None
    if empty := next((scale for scale in scales.scales if scale.low >= scale.high), None):
        raise _unusable_scales(file, f"low = {empty.low:g} is not below high = {empty.high:g}")
    if scales.model_digest != model_digest:
        raise _unusable_scales(file, "it was measured with other weights or another preprocessing")
    return scales


def write_map_scales(folder: Path, scales: MapScales) -> Path:
    """Write the scales into a model's folder; return the file.

    Raises:
        StoreError: the folder can't be written.
    """
    return write_model_json(scales, folder / SCALE_FILE)


def _unusable_scales(file: Path, reason: str) -> ModelError:
    return ModelError(
        f"{file}: {one_line(reason, 200)}; measure it again with vitrollout trust DATA --model {file.parent} --save, "
        "or remove the file"
    )
