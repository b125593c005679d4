"""Labelled photos -> decoded samples, with a progress line; the first thing that every training does."""

from collections.abc import Callable, Iterator, Sequence

from pipeline.errors import StoppedError
from pipeline.labelled.read import labelled_ref
from pipeline.labelled.splits import LabelledPhoto
from pipeline.photos.load_photo import LoadSpec
from pipeline.photos.loader import PhotoLoader
from pipeline.progress import Progress
from pipeline.records import Batch


def decode_photos(
    photos: Sequence[LabelledPhoto], spec: LoadSpec, title: str, batch_size: int, stop: Callable[[], bool]
) -> Iterator[Batch]:
    """Decode photos in worker processes, exactly as a run does.

    Args:
        photos: of unique names.
        spec: instructions for decoding.
        title: of the progress line, after "decoding".
        batch_size: photos in memory at once.
        stop: asked between photos.

    Raises:
        StoppedError: `stop()` returned true.
    """
    refs = [labelled_ref(photo) for photo in photos]
    with PhotoLoader(spec) as loader, Progress(len(photos), title=f"decoding {title}") as progress:
        for batch in loader.batches(refs, batch_size, stop):
            yield batch
            progress.advance(len(batch.samples), len(batch.failures))
    if stop():
        raise StoppedError("stopped while decoding; run the same command again to go on")
