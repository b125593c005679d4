"""Pascal VOC, read by supervision and by an XML parser."""

from importlib import import_module
from xml.etree import ElementTree

import pytest
from PIL import Image

from tests.export.formats.boxes import check_supervision, original_paths


@pytest.mark.filterwarnings("ignore:OpenCV .* is not installed:UserWarning")
def test_supervision_reads_the_boxes(exported):
    supervision = import_module("supervision")
    archive, out = exported
    dataset = supervision.DetectionDataset.from_pascal_voc(str(out / "voc/JPEGImages"), str(out / "voc/Annotations"))
    assert sorted(dataset.classes) == ["open", "short"]
    check_supervision(archive, out / "voc", dataset, 37)


def test_pixels_count_from_1_and_the_last_one_is_inside(exported):
    archive, out = exported
    for name, path in original_paths(out / "voc").items():
        root = ElementTree.parse(out / "voc/Annotations" / f"{name.rpartition('.')[0]}.xml").getroot()
        assert root.findtext("filename") == name
        with Image.open(out / "voc/JPEGImages" / name) as picture:
            size = (*picture.size, len(picture.getbands()))
        assert tuple(int(root.findtext(f"size/{side}")) for side in ("width", "height", "depth")) == size
        if path in archive.defects:
            x0, y0, x1, y1 = archive.defects[path].box
            sides = [int(root.findtext(f"object/bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")]
            assert sides == [x0 + 1, y0 + 1, x1, y1]
        else:
            assert root.find("object") is None


def test_lists_of_the_splits(exported):
    _, out = exported
    names = {file.stem: file.read_text().split() for file in (out / "voc/ImageSets/Main").iterdir()}
    assert {split: len(stems) for split, stems in names.items()} == {"train": 25, "val": 6, "test": 6}
    assert {stem for stems in names.values() for stem in stems} == {
        file.stem for file in (out / "voc/Annotations").iterdir()
    }
