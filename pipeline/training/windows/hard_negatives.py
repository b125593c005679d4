"""Windows without a defect that a model takes for defects: the most instructive good ones."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from pipeline.atomic_files import cannot_write
from pipeline.decision import combine_classes
from pipeline.errors import ConfigError, StoppedError
from pipeline.maps.passes import MapPlan
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.choose_tile import find_window_defects
from pipeline.model.device import choose_precision
from pipeline.model.load import load_classifier
from pipeline.model.predictor import build_predictor
from pipeline.photos.load_photo import model_pixels
from pipeline.photos.loader import in_groups
from pipeline.photos.tiling import Tiling
from pipeline.progress import Progress
from pipeline.records import LIKELY_FROM, Box, PixelBox, compute_scores
from pipeline.training.device import TrainingDevice
from pipeline.training.windows.draw import touches_any
from pipeline.training.windows.photo_store import PhotoStore

log = logging.getLogger(__name__)

_CHUNK = 64  # windows in memory

HardNegative = tuple[str, PixelBox]  # name of the photo, and the window


class HardNegativeSearch:
    """Looks for hard negatives with the starting model of a training.

    Attributes:
        side: of a window in pixels.
    """

    def __init__(self, start: Path, precision: str, side: int, stop: Callable[[], bool]) -> None:
        """Load the model.

        Args:
            start: its folder.
            precision: in the settings.
            side: of a window in pixels.
            stop: asked between batches.

        Raises:
            ConfigError: it doesn't tell defects from good.
        """
        checkpoint = resolve_checkpoint(str(start))
        device = TrainingDevice.choose(precision)
        classifier = load_classifier(checkpoint, device=device.name, precision=choose_precision(precision, device.name))
        self._classifier = classifier.for_windows()
        self._defect_ids = find_window_defects(self._classifier.labels, ())
        if not self._defect_ids:
            raise ConfigError(
                "hard_negatives: the starting model has no class called ok, good, normal or functional, so it finds no "
                "defects to correct; train it on the windows first, then again from the new model"
            )
        self._predictor = build_predictor(self._classifier, MapPlan(()), "auto")
        self.side, self._stop = side, stop

    def find(self, store: PhotoStore, boxes: Mapping[str, Sequence[Box]], file: Path) -> list[HardNegative]:
        """Find the windows, cut as a run cuts them, with a defect for the model and without one by the boxes.

        Args:
            store: the photos.
            boxes: of each photo.
            file: keeps those found; a resumed training goes on from it.

        Raises:
            StoppedError: `stop()` was true; all photos so far are saved.
            StoreError: the disk is full.
        """
        found = _read_found(file)
        rest = [name for name in boxes if name not in found]
        try:
            file.write_text("".join(_as_line(name, windows) for name, windows in found.items()))
            with file.open("a") as stream, Progress(len(rest), title="looking for hard negatives") as progress:
                for name in rest:
                    found[name] = self._search_photo(store, name, boxes[name])
                    stream.write(_as_line(name, found[name]))
                    stream.flush()
                    progress.advance(1)
        except OSError as error:
            raise cannot_write(file, error) from error
        hard = [(name, window) for name in boxes for window in found[name]]
        log.info("%d hard negatives: windows without a box that the starting model calls defects", len(hard))
        return hard

    def _search_photo(self, store: PhotoStore, name: str, boxes: Sequence[Box]) -> list[PixelBox]:
        windows = [
            window for window in Tiling(self.side).cut(*store.photos[name].size) if not touches_any(window, boxes)
        ]
        spec, scoring = self._classifier.load_spec(), self._classifier.scoring
        hard = []
        for chunk in in_groups(windows, _CHUNK):
            if self._stop():
                raise StoppedError("stopped while looking for hard negatives; run the same command again to go on")
            pixels = [model_pixels(store.cut(name, window), spec) for window in chunk]
            scores = compute_scores(self._predictor.predict(pixels).logits, scoring)
            defects = combine_classes(scores, self._defect_ids, scoring)
            likely: list[int] = np.flatnonzero(defects >= LIKELY_FROM).tolist()
            hard += [chunk[index] for index in likely]
        return hard


def _read_found(file: Path) -> dict[str, list[PixelBox]]:
    """Read the windows found so far, by photo; a line cut off by a kill is left out."""
    found: dict[str, list[PixelBox]] = {}
    for line in file.read_text().splitlines() if file.is_file() else ():
        with suppress(ValueError):
            name, windows = json.loads(line)
            found[name] = [tuple(window) for window in windows]
    return found


def _as_line(name: str, windows: Sequence[PixelBox]) -> str:
    return json.dumps([name, windows]) + "\n"
