"""A tiny Florence-2 trained on an export, offline: it must give the labels and the boxes back."""

import numpy as np
import pytest
from PIL import Image

from pipeline.config import RunConfig
from pipeline.run import run
from tests.export.archive import Archive, Defect, review_photos
from tests.export.formats.written import read_florence2_lines, write_export
from tests.helpers.florence2 import detect_boxes, make_model, make_processor, train_model

COLOURS = {"open": (255, 0, 0), "short": (0, 255, 0), "spur": (0, 0, 255)}
SIZES = [(160, 120), (200, 200), (120, 180)]


@pytest.fixture(scope="module")
def boards(tmp_path_factory, tiny_vit):
    """Sixteen photos of three sizes, three without a defect, the others with one anywhere."""
    folder = tmp_path_factory.mktemp("boards")
    rng = np.random.default_rng(0)
    labels, defects = {}, {}
    for number in range(16):
        width, height = SIZES[number % 3]
        label = list(COLOURS)[number % 3] if number < 13 else "ok"
        path = f"{number:02}.png"
        side = int(rng.integers(25, 50))
        x0, y0 = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
        picture = Image.new("RGB", (width, height), (90 + number,) * 3)
        labels[path] = label
        if label != "ok":
            picture.paste(COLOURS[label], (x0, y0, x0 + side, y0 + side))
            defects[path] = Defect((x0, y0, x0 + side, y0 + side), label, COLOURS[label])
        (folder / "photos").mkdir(exist_ok=True)
        picture.save(folder / "photos" / path)
    results = folder / "results"
    run(
        RunConfig(input=folder / "photos", out=results, model=str(tiny_vit), report=False, workers=1, overlay_size=None)
    )
    archive = Archive(folder / "photos", results, labels, defects)
    review_photos(archive)
    return archive


def test_a_florence2_trained_on_the_export_finds_the_defects(boards, tmp_path):
    lines = read_florence2_lines(write_export(boards, tmp_path / "data", "florence2", group="photo"))
    assert len(lines) == 16
    pictures = [Image.open(line["file"]).convert("RGB") for line in lines]
    processor = make_processor(["Locate the objects with category name in the image.", *COLOURS])
    model = make_model(processor)
    train_model(model, processor, pictures, lines, steps=60)
    right = 0
    for line, picture in zip(lines, pictures, strict=True):
        defect = boards.defects.get(line["path"])
        labels, boxes = detect_boxes(model, processor, picture)
        if defect is None:
            right += labels == []
        else:
            right += labels == [defect.label] and overlap(boxes[0], defect.box) >= 0.8
    assert right >= 14


def overlap(box, other):
    """Return the intersection over union."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    if width <= 0 or height <= 0:
        return 0
    areas = [(each[2] - each[0]) * (each[3] - each[1]) for each in (box, other)]
    return width * height / (sum(areas) - width * height)
