"""Photos with boxes -> the windows of an epoch: one around each box, and as many without, at least one a photo."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pipeline.errors import DataError
from pipeline.labelled.csv_table import list_some
from pipeline.labelled.good_labels import GOOD_LABELS, is_good_label
from pipeline.labelled.splits import LabelledBox, LabelledPhoto

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PhotoWindow(LabelledPhoto):
    """A window of a photo, drawn anew in each epoch. Its own boxes are unknown; those of the photo are known.

    Attributes:
        photo: the photo.
        box: number of the box it holds, among those of the photo; None: it touches none.
    """

    photo: LabelledPhoto
    box: int | None


def plan_windows(photos: Sequence[LabelledPhoto], side: int) -> list[PhotoWindow]:
    """List the windows of all photos. Those of one photo are a group, or those of its group.

    Args:
        photos: photos whose boxes are unknown give none, unless they are good; they are counted in the log.
        side: of a window in pixels.

    Raises:
        DataError: no photo has a box that fits into a window.
    """
    known = [photo for photo in photos if photo.boxes is not None or is_good_label(photo.label)]
    if len(known) < len(photos):
        log.warning("%d photos have defects without boxes and are left out", len(photos) - len(known))
    good = next((photo.label for photo in known if is_good_label(photo.label)), GOOD_LABELS[0])
    large: list[str] = []
    around = []
    for photo in known:
        for number, box in enumerate(photo.boxes or ()):
            if box.longer_side > side:
                large.append(f"{photo.name} ({_describe(box)})")
            else:
                around.append(_window(photo, number, box.label, _describe(box)))
    if large:
        log.warning(
            "%d boxes are larger than a window of %d pixels, so no window shows these defects whole, and none is "
            "learned from them: %s; use a larger --tile", len(large), side, list_some(large)
        )  # fmt: skip
    if not around:
        raise DataError(
            f"tile = {side}: no photo has a box that fits into a window; give a CSV path,label,x0,y0,x1,y1 with a row "
            "for each box, COCO annotations, or a results folder with boxes reviewed"
        )
    return [*around, *_plan_clear(known, good, max(len(around), len(known)))]


def list_whole_photos(photos: Iterable[LabelledPhoto]) -> list[LabelledPhoto]:
    """Return the photos of windows, each once, with the split of its windows; other photos as they are."""
    whole = {}
    for photo in photos:
        parent = replace(photo.photo, split=photo.split) if isinstance(photo, PhotoWindow) else photo
        whole[parent.name] = parent
    return list(whole.values())


def _plan_clear(photos: Sequence[LabelledPhoto], good: str, count: int) -> list[PhotoWindow]:
    """Spread `count` windows without a defect evenly over the photos."""
    return [
        _window(photo, None, good, f"{good} {number}")
        for index, photo in enumerate(photos)
        for number in range(count * index // len(photos), count * (index + 1) // len(photos))
    ]


def _window(photo: LabelledPhoto, box: int | None, label: str, about: str) -> PhotoWindow:
    name, group = f"{photo.name} ({about})", photo.group or photo.name
    if box is not None:
        name = f"{photo.name} ({box}: {about})"
    return PhotoWindow(name, photo.file, label, photo.weight, photo.split, group, photo=photo, box=box)


def _describe(box: LabelledBox) -> str:
    x0, y0, x1, y1 = box.box
    return f"{box.label} at {x0:g}, {y0:g}, {x1:g}, {y1:g}"
