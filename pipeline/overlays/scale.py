"""The map values drawn as the coldest and the hottest: the setting `scale`.

One scale for all photos makes a good part look as different from a bad one as it is. The scale of the first run with
some settings is kept in the results folder, so all processes, later runs and overlays drawn from rows have the same.
"""

import json
import logging
from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np

from pipeline.errors import ConfigError, StoreError
from pipeline.maps.methods import LABEL_METHODS, MethodName
from pipeline.model.map_scale import SCALE_FILE, Span, measure_span, read_map_scales
from pipeline.model.open import OpenedModel
from pipeline.model.targets import Targets
from pipeline.records import Prediction
from pipeline.results.files import ResultsFiles
from pipeline.results.names import MODEL_SCALE, RUN_SCALE, RUNS
from pipeline.storage.files import read_bytes
from pipeline.storage.location import Location

log = logging.getLogger(__name__)

Kept = Literal["model", "run"]

SCALE_PHOTOS = 64  # of a run, behind its scale
_HOT_PHOTOS = 95.0  # percentile of their hottest values: most photos of a run are good
_SUFFIX: dict[str, str] = {"model": MODEL_SCALE, "run": RUN_SCALE}


def find_model_span(scale: str | float, method: MethodName, targets: Targets, opened: OpenedModel) -> Span | None:
    """Return the span of a setting, as far as it is known before the first photo.

    Args:
        scale: the setting.
        method: of the drawn maps.
        targets: the explained labels.
        opened: the model.

    Returns:
        The map values drawn as the coldest and the hottest; None: each photo's own, or those of a run's photos.

    Raises:
        ConfigError: the model's scale is asked for, and it has none for these maps.
        ModelError: the model's scales are damaged, or were measured with another model.
    """
    if isinstance(scale, float):
        return 0.0, scale
    if scale in ("run", "photo") or (scale == "auto" and method not in LABEL_METHODS):
        return None
    checkpoint = opened.checkpoint
    scales = read_map_scales(checkpoint.folder, checkpoint.digest())
    found = scales.find(method, targets, len(checkpoint.labels)) if scales else None
    if scales is None:
        reason = f"model {checkpoint.name} has no {SCALE_FILE}"
    elif found is None:
        reason = f"{SCALE_FILE} of model {checkpoint.name} has none for these labels by {method}"
    elif scales.input_size != opened.input_size:
        reason = f"{SCALE_FILE} of model {checkpoint.name} was measured with another --input-size"
    else:
        return found.span
    if scale == "model":
        raise ConfigError(f"scale = model: {reason}; name run, photo or a number")
    log.info("overlays: each photo on a scale of its own, as %s; --scale run takes one for all", reason)
    return None


def measure_run_span(predictions: Iterable[Prediction]) -> Span | None:
    """Measure one scale for all photos of a run on some of them; None for maps that show nothing."""
    maps = [prediction.attention for prediction in predictions]
    span = measure_span(np.stack(maps), _HOT_PHOTOS) if maps else None
    shown = f"from {span[0]:.3g} to {span[1]:.3g}" if span else "none, as their maps show nothing"
    log.info("overlays: one scale for all, by %d photos: %s", len(maps), shown)
    return span


def keep_span(files: ResultsFiles, fingerprint: str, kept: Kept, find_span: Callable[[], Span | None]) -> Span | None:
    """Return the span kept for all runs with these settings; the first process to ask finds and keeps it.

    Args:
        files: of a results folder.
        fingerprint: of the settings, without the decision.
        kept: the model's span or the run's.
        find_span: called if none is kept.

    Raises:
        StoreError: the file can't be read or written.
    """
    span = read_kept_span(files.out, fingerprint, kept)
    if span or not (span := find_span()):
        return span
    content = json.dumps({"low": span[0], "high": span[1]}) + "\n"
    files.create_file(f"{RUNS}/{fingerprint}{_SUFFIX[kept]}", content.encode())
    return read_kept_span(files.out, fingerprint, kept) or span  # of another process, if that was first


def read_kept_span(out: Location, fingerprint: str, kept: Kept) -> Span | None:
    """Read the span kept for runs with these settings, or None; arguments and errors as of `keep_span`."""
    file = out / RUNS / f"{fingerprint}{_SUFFIX[kept]}"
    try:
        parsed = json.loads(read_bytes(file))
        low, high = float(parsed["low"]), float(parsed["high"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{file} can't be read ({error}); remove it, and the next run keeps a scale again") from None
    if not low < high:
        raise StoreError(f"{file}: {low:g} is not below {high:g}; remove it, and the next run keeps a scale again")
    return low, high
