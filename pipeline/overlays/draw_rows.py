"""Overlays drawn from the rows of a table, without the model: for photos that a run has left out."""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.overlays.choose_rows import ChosenRows, choose_rows, list_photos, safe_name
from pipeline.overlays.config import OverlaysConfig
from pipeline.overlays.draw_detections import Detections
from pipeline.overlays.draw_pictures import draw_pictures
from pipeline.overlays.run_rules import DrawingRules, RunRules
from pipeline.overlays.writer import OverlayWriter
from pipeline.photos.loader import PhotoLoader
from pipeline.progress import Progress
from pipeline.records import Batch, Box, Floats, ImageRef
from pipeline.results.folder import ResultsFolder
from pipeline.results.input_of_results import input_folder_of_results
from pipeline.results.names import part_files
from pipeline.results.schema import set_columns
from pipeline.storage.location import is_url
from pipeline.storage.storage import check_reachable

log = logging.getLogger(__name__)

_BATCH = 32  # photos between two questions whether to stop

_CHANGED = "changed since its row; run again"
_PLAIN = ["content_hash", "grid_h", "grid_w", "detections", "overlay", "run_id", "fingerprint", "model"]


@dataclass(frozen=True)
class DrawnOverlays:
    """The outcome of drawing overlays.

    Attributes:
        chosen: photos to draw.
        drawn: of these, photos with a new overlay.
        already_drawn: further photos meeting the condition, with their overlay in place.
        changed: photos with other bytes than in their row.
        unreadable: photos that could not be read or decoded.
        interrupted: ended by a signal; another call draws the rest.
    """

    chosen: int
    drawn: int = 0
    already_drawn: int = 0
    changed: int = 0
    unreadable: int = 0
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """0, or 3 if some photos have changed or could not be read."""
        return 3 if self.changed or self.unreadable else 0


def draw_overlays(config: OverlaysConfig, *, stop: Callable[[], bool] = lambda: False) -> DrawnOverlays:
    """Draw the overlays and thumbnails of rows, and put their names into the table.

    Rows with a new name are appended under the run of the old ones, a thousand at a time, after their pictures are in
    place: readers take the last row of a run, and a compaction drops the others.

    Args:
        config: all settings.
        stop: asked between batches; once true, finished pictures are committed, and the drawing ends.

    Raises:
        ConfigError: it is not a results folder, or its input folder is missing.
        FolderBusyError: a run holds the folder.
        StoreError: a part is damaged, the disk is full, or the folder can't be written.
    """
    check_reachable(config.out)
    source = input_folder_of_results(config.out)
    if source is None or not part_files(config.out):
        raise ConfigError(f"{config.out} is not a results folder with rows in it; name the --out of a run")
    _check_source_folder(source)
    with ResultsFolder(config.out, source) as results:
        chosen = choose_rows(config)
        log.info("%d overlays to draw, %d there already", len(chosen), chosen.there)
        counts = Counter[str]()
        if len(chosen):
            with Progress(len(chosen)) as progress, _RowDrawer(config, results, chosen) as drawer:
                for rows in chosen.read_chunks():
                    counts += drawer.draw(rows, stop, progress.advance)
                    if stop():
                        break
    interrupted = counts.total() < len(chosen)
    return DrawnOverlays(len(chosen), already_drawn=chosen.there, interrupted=interrupted, **counts)


@dataclass(frozen=True)
class _Drawing:
    """One row to draw.

    Attributes:
        ref: the photo.
        content_hash: of its bytes, as in the row.
        attention: (grid_h, grid_w).
        box: the part of the photo under the map.
        detections: the defects found.
        overlay: the name in the row to use again, or None.
        rules: of its run.
    """

    ref: ImageRef
    content_hash: str
    attention: Floats
    box: Box
    detections: Detections
    overlay: str | None
    rules: DrawingRules


class _RowDrawer:
    """Draws rows in chunks. The decoders for the settings of a run stay for the next chunk."""

    def __init__(self, config: OverlaysConfig, results: ResultsFolder, chosen: ChosenRows) -> None:
        """Start without decoders.

        Args:
            config: all settings.
            results: the folder, held.
            chosen: the rows.
        """
        self._config, self._results, self._chosen = config, results, chosen
        self._run_rules = RunRules(config)
        self._clashing: set[str] = set()
        self._rules: DrawingRules | None = None
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        self._resources.__exit__(kind, *details)  # type: ignore[arg-type]

    def draw(self, rows: pa.Table, stop: Callable[[], bool], advance: Callable[[int, int], None]) -> Counter[str]:
        """Draw and commit a chunk of rows; return the numbers of photos drawn, changed and unreadable."""
        groups: dict[DrawingRules, list[_Drawing]] = defaultdict(list)
        for drawing in self._list_drawings(rows):
            groups[drawing.rules].append(drawing)
        names: dict[str, str] = {}
        counts = Counter[str]()
        for rules in sorted(groups, key=lambda rules: rules != self._rules):  # first the one with open decoders
            self._open_decoders(rules)
            drawings = {drawing.ref.path: drawing for drawing in groups[rules]}
            for batch in self._loader.batches([drawing.ref for drawing in groups[rules]], _BATCH, stop):
                counts_of_batch = self._draw_batch(batch, drawings, names)
                counts += counts_of_batch
                advance(counts_of_batch["drawn"], counts_of_batch.total() - counts_of_batch["drawn"])
            self._writer.flush()
        self._commit_names(rows, names)
        return counts

    def _list_drawings(self, rows: pa.Table) -> Iterator[_Drawing]:
        paths = rows["path"].to_pylist()
        self._clashing.clear()
        self._clashing.update(self._chosen.find_twins(paths))
        refs = list_photos(rows, self._results.source)
        plain = rows.select(
            ["content_hash", "grid_h", "grid_w", "detections", "overlay", "run_id", "fingerprint", "model"]
        )
        lists = zip(rows["attention"].to_numpy(), rows["map_box"].to_pylist(), strict=True)
        for ref, row, (attention, box) in zip(refs, plain.to_pylist(), lists, strict=True):
            rules = self._run_rules.rules_of(row["run_id"], row["fingerprint"], row["model"])
            heat = np.asarray(attention, np.float32).reshape(row["grid_h"], row["grid_w"])
            yield _Drawing(
                ref, row["content_hash"], heat, tuple(box), row["detections"] or (), safe_name(row["overlay"]), rules
            )

    def _open_decoders(self, rules: DrawingRules) -> None:
        if rules == self._rules:
            return
        self._resources.close()
        self._loader = self._resources.enter_context(
            PhotoLoader(
                rules.spec,
                num_workers=self._config.workers,
                decode_seconds=rules.decode_seconds,
                finish=draw_pictures,
            )
        )
        self._writer = self._resources.enter_context(
            OverlayWriter(
                self._results, rules.look, threads=self._loader.num_workers, waiting=_BATCH, clashing=self._clashing
            )
        )
        self._rules = rules

    def _draw_batch(self, batch: Batch, drawings: Mapping[str, _Drawing], names: dict[str, str]) -> Counter[str]:
        """Queue the overlays of a batch; names get their names by path."""
        counts = Counter[str]()
        for sample in batch.samples:
            drawing = drawings[sample.ref.path]
            if sample.content_hash != drawing.content_hash:
                counts["changed"] += 1
                _warn_of_photo(sample.ref.path, _CHANGED)
                continue
            name = self._writer.submit(
                sample, drawing.attention, drawing.box, name=drawing.overlay, detections=drawing.detections
            )
            assert name is not None, "the photo is kept for its overlay"
            names[sample.ref.path] = name
            counts["drawn"] += 1
        for failure in batch.failures:
            changed = failure.content_hash not in (None, drawings[failure.ref.path].content_hash)
            counts["changed" if changed else "unreadable"] += 1
            _warn_of_photo(failure.ref.path, _CHANGED if changed else failure.reason)
        return counts

    def _commit_names(self, rows: pa.Table, names: Mapping[str, str]) -> None:
        """Append the rows with new names; all pictures are in place."""
        renamed = self._results.take_renamed_pictures()
        before = zip(rows["path"].to_pylist(), rows["overlay"].to_pylist(), strict=True)
        new = [(names.get(path), overlay) for path, overlay in before]
        new = [(renamed.get(name, name) if name else overlay, overlay) for name, overlay in new]
        is_new = [name != overlay for name, overlay in new]
        if any(is_new):
            table = set_columns(rows, overlay=[name for name, _ in new])
            self._results.write_part(table.filter(pa.array(is_new)))


def _warn_of_photo(path: str, reason: str) -> None:
    log.warning("%s: %s", path, reason, extra={"path": path})


def _check_source_folder(source: str) -> None:
    if not is_url(source) and not Path(source).exists():
        raise ConfigError(f"{source}, the input folder, is missing, so no photo can be drawn; is it mounted?")
