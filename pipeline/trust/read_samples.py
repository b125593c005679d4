"""Marked photos -> decoded photos, or one window of each, with the marks in it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.errors import DecodeError
from pipeline.model.classifier import Classifier
from pipeline.model.predictor import Predictor
from pipeline.photos.loader import PhotoLoader
from pipeline.photos.tiling import Tiling
from pipeline.records import Failure, Sample
from pipeline.trust.choose_window import WindowChooser
from pipeline.trust.marked_photos import MarkedPhoto

MarkedSample = tuple[Sample, MarkedPhoto]


@dataclass(frozen=True)
class WindowRule:
    """How to choose a window of a photo.

    Attributes:
        tiling: how photos are cut.
        defect_ids: ids of the classes counted as defects; empty if nothing tells defects from good.
    """

    tiling: Tiling
    defect_ids: tuple[int, ...]


class SampleReader:
    """Decodes marked photos, and cuts one window out of each larger one."""

    def __init__(
        self, classifier: Classifier, predictor: Predictor, windows: WindowRule | None, stop: Callable[[], bool]
    ) -> None:
        """Set up.

        Args:
            classifier: the model; for windows if there are any.
            predictor: of its logits.
            windows: None: photos are not cut.
            stop: asked between photos; once true, no more are read.
        """
        self._classifier, self._predictor, self._windows, self._stop = classifier, predictor, windows, stop

    def read(self, photos: Sequence[MarkedPhoto]) -> Iterator[tuple[list[MarkedSample], list[Failure]]]:
        """Yield photos in batches of the predictor's size, and those that can't be read."""
        marked_of = {photo.ref.path: photo for photo in photos}
        spec = self._classifier.load_spec(tiling=self._windows.tiling if self._windows else None)
        # one worker keeps up: the model takes seconds for each photo
        with PhotoLoader(spec, num_workers=1) as loader:
            for batch in loader.batches([photo.ref for photo in photos], self._predictor.batch_size, self._stop):
                read, failures = list[MarkedSample](), list(batch.failures)
                for sample in batch.samples:
                    try:
                        read.append(self._choose_window(sample, marked_of[sample.ref.path], loader))
                    except DecodeError as error:
                        failures.append(Failure(sample.ref, str(error)))
                yield read, failures

    def _choose_window(self, sample: Sample, marked: MarkedPhoto, loader: PhotoLoader) -> MarkedSample:
        if self._windows is None:
            return sample, marked
        chooser = WindowChooser(self._classifier, self._predictor, self._windows.defect_ids, loader.windows)
        return chooser.choose(sample, marked)
