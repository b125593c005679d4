"""A results folder of photos in all the kinds that readers disagree about, each with a coloured square for a defect."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.config import RunConfig
from pipeline.results.read import read_results
from pipeline.reviews.classes import extend_classes
from pipeline.reviews.record import ReviewBox, ReviewRecord, current_moment, new_record_id
from pipeline.reviews.session import ReviewSession
from pipeline.run import run
from tests.helpers.image_files import encoded, with_orientation

CLASSES = ("ok", "open", "short")
COLOURS = {"open": (230, 30, 30), "short": (30, 60, 230)}
GREY = {"open": 250, "short": 5}  # in photos without colours
SIZE = (64, 48)
GROUPS = r"(board-\d+)"
_BACKGROUND = (120, 120, 120)


@dataclass(frozen=True)
class Defect:
    """The defect of a photo: its box in upright pixels, its label, and its colour as an RGB reader sees it."""

    box: tuple[int, int, int, int]
    label: str
    colour: tuple[int, int, int]


def place_of(number):
    """The box of the defect of photo `number`: far from the middle, so that no turn maps it to itself."""
    x0, y0 = 36 + 2 * (number % 5), 4 + 2 * (number % 3)
    return x0, y0, x0 + 15, y0 + 11


def draw_photo(number, label):
    """An upright RGB photo, different for each number, with a square of the label's colour."""
    picture = Image.new("RGB", SIZE, _BACKGROUND)
    picture.paste((number % 200 + 20, 100, 140), (0, 40, 12, 48))
    if label != "ok":
        picture.paste(COLOURS[label], place_of(number))
    return picture


def draw_grey(number, label):
    picture = Image.new("L", SIZE, 120)
    picture.paste(number % 200 + 20, (0, 40, 12, 48))
    if label != "ok":
        picture.paste(GREY[label], place_of(number))
    return picture


def _sixteen_bits(number, label):
    return Image.fromarray(np.asarray(draw_grey(number, label)).astype(np.uint16) * 257)


def _with_alpha(number, label):
    picture = draw_photo(number, label).convert("RGBA")
    picture.putalpha(Image.new("L", SIZE, 255))
    return picture


_JPEG = {"quality": 97, "subsampling": 0}
# by name: the file of a photo of this number and label
KINDS = {
    **{
        f"exif-{value}.jpg": lambda number, label, value=value: with_orientation(
            draw_photo(number, label), "JPEG", value, **_JPEG
        )
        for value in range(1, 9)
    },
    **{
        f"exif-{value}.png": lambda number, label, value=value: with_orientation(
            draw_photo(number, label), "PNG", value
        )
        for value in range(1, 9)
    },
    "grey.jpg": lambda number, label: encoded(draw_grey(number, label), "JPEG", **_JPEG),
    "grey.png": lambda number, label: encoded(draw_grey(number, label), "PNG"),
    "plain.png": lambda number, label: encoded(draw_photo(number, label), "PNG"),
    "sixteen.tif": lambda number, label: encoded(_sixteen_bits(number, label), "TIFF"),
    "sixteen.png": lambda number, label: encoded(_sixteen_bits(number, label), "PNG"),
    "turned.tif": lambda number, label: with_orientation(draw_photo(number, label), "TIFF", 6),
    "cmyk.jpg": lambda number, label: encoded(draw_photo(number, label).convert("CMYK"), "JPEG", **_JPEG),
    "alpha.png": lambda number, label: encoded(_with_alpha(number, label), "PNG"),
    "palette.png": lambda number, label: encoded(draw_photo(number, label).quantize(16), "PNG"),
}
PLAIN = ("exif-1.jpg", "exif-1.png", "grey.jpg", "grey.png", "plain.png")


@dataclass(frozen=True)
class Archive:
    """Photos and their results folder.

    Attributes:
        photos: the input folder.
        results: the results folder.
        labels: label of each photo by path, reviewed or not.
        defects: of the photos with a defect, by path.
    """

    photos: Path
    results: Path
    labels: dict[str, str]
    defects: dict[str, Defect]

    def review(self, path, **changes):
        """Write a review of one photo, complete and true but for `changes`."""
        review_photos(self, {path: changes})


def make_archive(folder, model, *, boards=12):
    """Save photos of all kinds, run the model over them, and review nothing.

    Args:
        folder: for the photos and the results.
        model: a checkpoint.
        boards: number of folders; each has two of the kinds and a photo without a defect.
    """
    photos = folder / "photos"
    labels, defects = {}, {}
    for index, (kind, write) in enumerate(KINDS.items()):
        label = ("open", "short")[index % 2]
        path = f"board-{index % boards}/{kind}"
        _save(photos / path, write(index, label))
        labels[path] = label
        colour = (GREY[label],) * 3 if kind.startswith(("grey", "sixteen")) else COLOURS[label]
        defects[path] = Defect(place_of(index), label, colour)
    for board in range(boards):
        path = f"board-{board}/good.png"  # the same name in every folder
        _save(photos / path, encoded(draw_photo(100 + board, "ok"), "PNG"))
        labels[path] = "ok"
    run(RunConfig(input=photos, out=folder / "results", model=str(model), report=False, workers=1, overlay_size=None))
    extend_classes(folder / "results", CLASSES)
    return Archive(photos, folder / "results", labels, defects)


def review_photos(archive, changes=None, *, who="eva"):
    """Write a review of each photo named, or of all; `changes` are fields of records by path."""
    rows = read_results(archive.results, columns=["path", "content_hash", "width", "height", "label"])
    wanted = changes if changes is not None else {path: {} for path in archive.labels}
    with ReviewSession(archive.results, who) as session:
        for row in rows.itertuples():
            if row.path in wanted:
                fields = _true_review(archive, row) | {"session": session.name, "who": who} | wanted[row.path]
                session.append(ReviewRecord(**fields))


def _true_review(archive, row):
    label = archive.labels[row.path]
    defect = archive.defects.get(row.path)
    return {
        "id": new_record_id(),
        "at": current_moment(),
        "path": row.path,
        "content_hash": row.content_hash,
        "width": int(row.width),
        "height": int(row.height),
        "verdict": "confirmed" if label == row.label else "corrected",
        "label_before": row.label,
        "label": label,
        "boxes": (ReviewBox(*defect.box, defect.label),) if defect else (),
        "boxes_complete": True,
    }


def _save(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
