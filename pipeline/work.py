"""The work of a run on one device: a shard of photos in, one part of the table out, with its overlays."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Self

from pipeline.errors import DeviceLostError, StoppedError
from pipeline.finish_batch import BatchFinisher, FinishedBatch
from pipeline.model.map_scale import Span, spread_evenly
from pipeline.overlays.draw import overlay_look
from pipeline.overlays.draw_pictures import draw_pictures
from pipeline.overlays.scale import SCALE_PHOTOS, keep_span, measure_run_span
from pipeline.overlays.writer import OverlayWriter
from pipeline.photos.loader import PhotoLoader, in_groups
from pipeline.planning.plan_schema import refs_of_plan
from pipeline.progress import Stopwatch
from pipeline.records import Batch, ImageRef
from pipeline.report.drift import Profiler
from pipeline.results.files import ResultsFiles
from pipeline.results.folder import ResultsFolder
from pipeline.results.open_run import OpenRun
from pipeline.results.run_record import PROFILE
from pipeline.results.table_writer import TableWriter
from pipeline.run_model import RunModel

if TYPE_CHECKING:  # torch takes a second to import
    from pipeline.maps.passes import MapPlan
    from pipeline.model.predictor import PendingPredictions, Predictor

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShardDone:
    """One shard with its part in the table.

    Attributes:
        shard: its number.
        ok, failed: its photos.
        is_ours: False if another worker had committed it before.
    """

    shard: int
    ok: int
    failed: int
    is_ours: bool = True


@dataclass
class _Shard:
    """The photos of one shard while it is worked on."""

    number: int
    refs: Sequence[ImageRef]
    failed_before: frozenset[str]
    groups_left: int


class ShardRunner:
    """Takes shards through the model of one device. Entering loads the model and starts the decoders."""

    def __init__(
        self,
        run: OpenRun,
        model: RunModel,
        files: ResultsFiles,
        *,
        on_batch: Callable[[int, int], None] = lambda ok, failed: None,
        clock: Stopwatch | None = None,
    ) -> None:
        """Remember what to work on; nothing is loaded before entering.

        Args:
            run: the plan.
            model: the model of the run.
            files: to write with. The holder of the folder's lock, as the only writer of the run, splits parts: after
                `part_seconds`, and where it is stopped. All others commit whole shards.
            on_batch: called with the numbers of ok and failed photos after each batch.
            clock: for the time spent in each stage.
        """
        self._run, self._model, self._files = run, model, files
        self._on_batch, self._clock = on_batch, clock or Stopwatch()
        self._folder = files if isinstance(files, ResultsFolder) and run.has_one_writer else None
        self._rows = model.build_rows(run.run_id)
        self._clashing: set[str] = set()
        self._sampled: set[str] = set()
        self._stop: Callable[[], bool] = lambda: False
        self._most_windows = 0  # of a photo; 0 if photos are not cut
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        """Load the model and start the decoders; raises as `OpenedModel.load`."""
        with self._clock("model"):
            # transformers takes seconds to import: only once there is something to do
            from pipeline.maps.passes import MapPlan

            model, config = self._model, self._model.config
            self._classifier = model.opened.load(rescale=config.rescale)
            if model.tile.tiling:
                self._classifier = self._classifier.for_windows()
        targets = model.targets
        map_plan = MapPlan(
            config.method, config.head_fusion, config.discard_ratio, targets.label_ids, targets.versus_ids,
            features=self._rows.needs_features,
        )  # fmt: skip
        spec = self._classifier.load_spec(
            overlay_size=None if model.overlays.kind == "none" else config.overlay_size,
            exact_decode=config.exact_decode,
            max_pixels=config.max_pixels,
            white_level=config.white_level,
            tiling=model.tile.tiling,
        )
        with ExitStack() as resources:
            self._loader = resources.enter_context(
                PhotoLoader(
                    spec, num_workers=config.workers, decode_seconds=config.decode_seconds, finish=draw_pictures
                )
            )
            self._predictor = self._build_predictor(map_plan)
            self._overlays = resources.enter_context(
                OverlayWriter(
                    self._files,
                    overlay_look(config, self._find_span()),
                    threads=self._loader.num_workers,
                    waiting=self._predictor.photos_a_batch,  # a batch is drawn while the device computes the next
                    clashing=self._clashing,
                )
            )
            self._resources = resources.pop_all()
        self._table = TableWriter(self._files, before_commit=self._overlays.flush)
        self._finisher = BatchFinisher(
            self._rows, self._classifier.geometry, self._overlays, model.overlays, self._sampled, self._clock
        )
        self._loader.choose_kept(self._finisher.keeps)
        return self

    def _build_predictor(self, plan: "MapPlan") -> "Predictor":
        model, size = self._model, self._model.config.batch_size
        if model.tile.tiling is None:
            from pipeline.model.predictor import build_predictor

            return build_predictor(self._classifier, plan, size, model.targets)
        from pipeline.model.tiled_predictor import build_tiled_predictor  # imports scipy

        cut = partial(self._loader.windows, stop=lambda: self._stop())
        return build_tiled_predictor(self._classifier, plan, size, model.targets, cut, model.defect_ids)

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        if kind is None and self._most_windows == 1:
            log.info("no photo was larger than --tile %d, so each was one window", self._rows.tile)
        self._resources.__exit__(kind, *details)  # type: ignore[arg-type]

    def run(self, shards: Iterable[int], stop: Callable[[], bool] = lambda: False) -> Iterator[ShardDone]:
        """Work on shards in their order; decoding runs ahead over their borders.

        Args:
            shards: their numbers, taken one by one.
            stop: asked between batches, and between windows of a photo; once true, the work ends.

        Raises:
            DeviceLostError: the device no longer answers.
            VitrolloutError: as of a run.
        """
        self._stop = stop
        batch_size = self._predictor.photos_a_batch
        loading: deque[_Shard] = deque()  # decoded or being decoded; the first one is at the model

        def groups() -> Iterator[Sequence[ImageRef]]:
            for number in shards:
                loading.append(self._read_shard(number, batch_size))
                yield from in_groups(loading[-1].refs, batch_size)

        batches = self._clock.over("photos", self._loader.load_groups(groups(), stop))
        done: ShardDone | None = None
        for batch, output in self._predictor.predict_ahead(batches):
            try:
                finished = self._finish_batch(batch, output)
            except StoppedError:  # in the middle of a large photo, which waits for the next run
                break
            shard = loading[0]
            if done is None:
                done = ShardDone(shard.number, 0, 0)
                self._table.open_part(shard.number)
            with self._clock("table"):
                self._table.add(finished.rows, finished.windows)
            ok = len(finished.rows) - finished.failed
            done = replace(done, ok=done.ok + ok, failed=done.failed + finished.failed)
            self._on_batch(ok, finished.failed)
            shard.groups_left -= 1
            if shard.groups_left == 0:
                loading.popleft()
                yield replace(done, is_ours=self._commit(shard))
                done = None
            elif self._folder and self._table.seconds_open >= self._model.config.part_seconds:
                self._commit(shard)
                self._table.open_part(self._folder.take_number())
        if self._folder and done and self._table.rows:
            self._commit(loading[0])

    def run_one_by_one(self, shard: int, broken: Mapping[str, str], on_photo: Callable[[str], None]) -> ShardDone:
        """Work on one shard photo by photo: the last resort for a shard that ends the processes working on it.

        Args:
            shard: its number.
            broken: reasons by path, for photos known to end the process: they become failed rows.
            on_photo: called with the path of each photo before its turn.
        """
        taken = self._read_shard(shard, 1)
        refs = [replace(ref, problem=broken[ref.path]) if ref.path in broken else ref for ref in taken.refs]
        self._table.open_part(shard)
        failed = 0
        for ref in refs:
            on_photo(ref.path)
            for batch, output in self._predictor.predict_ahead(self._loader.batches([ref], 1, lambda: False)):
                finished = self._finish_batch(batch, output)
                self._table.add(finished.rows, finished.windows)
                failed += finished.failed
        return ShardDone(shard, len(refs) - failed, failed, self._commit(taken))

    def _read_shard(self, number: int, batch_size: int) -> _Shard:
        plan = self._run.read_shard(number)
        refs = refs_of_plan(plan, self._model.config.input)
        paths = plan["path"]
        self._clashing.update(paths.filter(plan["clashes"]).to_pylist())
        self._sampled.update(paths.filter(plan["sampled"]).to_pylist())
        if self._model.targets.expected is not None:
            expected = zip(paths.to_pylist(), plan["expected"].to_pylist(), strict=True)
            self._model.targets.expected.update((path, label) for path, label in expected if label is not None)
        failed_before = frozenset(paths.filter(plan["failed_before"]).to_pylist())
        return _Shard(number, refs, failed_before, groups_left=-(-len(refs) // batch_size))

    def _find_span(self) -> Span | None:
        """Return the map values drawn as the coldest and the hottest; None: each photo's own."""
        span, scale = self._model.span, self._model.config.scale
        if self._model.overlays.kind == "none" or isinstance(scale, float):
            return span
        if scale == "run":
            return keep_span(self._files, self._model.base_fingerprint, "run", self._measure_span)
        return span and keep_span(self._files, self._model.base_fingerprint, "model", lambda: span)

    def _measure_span(self) -> Span | None:
        """Measure the scale of the run on photos from all over its plan."""
        numbers = spread_evenly(range(self._run.shards), SCALE_PHOTOS)
        shards = (self._read_shard(number, 1) for number in numbers)
        refs = [ref for shard in shards for ref in spread_evenly(shard.refs, -(-SCALE_PHOTOS // len(numbers)))]
        batches = self._loader.batches(refs[:SCALE_PHOTOS], self._predictor.photos_a_batch, lambda: False)
        return measure_run_span(one for batch in batches for one in self._predictor.predict_photos(batch.samples))

    def _finish_batch(self, batch: Batch, output: "PendingPredictions") -> FinishedBatch:
        """Wait for the output of a batch, and build its rows."""
        from pipeline.model.predictor import is_device_lost

        with self._clock("model"):
            try:
                predictions = output()
            except RuntimeError as error:
                if not is_device_lost(error):
                    raise
                raise DeviceLostError(f"device {self._model.opened.device} no longer answers: {error}") from error
        windows = [len(sample.tiles.boxes) for sample in batch.samples if sample.tiles]
        self._most_windows = max(self._most_windows, *windows, 0)
        return self._finisher.finish(batch, predictions)

    def _commit(self, shard: _Shard) -> bool:
        with self._clock("table"):
            profiler = Profiler()
            profiler.add(self._table.gather(), shard.failed_before)
            return self._table.commit({PROFILE: profiler.as_text()})
