from itertools import pairwise

import pytest

from pipeline.export.dataset import ExportBox, ExportClass, ExportDataset, ExportPhoto, Origin
from pipeline.export.select_photos import BEYOND_OK_SHARE, limit_ok_share
from pipeline.export.tiles import cut_tiles, place_tiles

CLASSES = (ExportClass(0, "ok"), ExportClass(1, "open"), ExportClass(2, "short"))


def photo_of(width, height, *boxes, name="a", split="train"):
    label = boxes[0].label if boxes else "ok"
    return ExportPhoto(
        path=f"{name}.jpg",
        content_hash=name * 32,
        file=f"/photos/{name}.jpg",
        name=f"{name}-12345678.jpg",
        split=split,
        group=name,
        label=label,
        class_id=[each.name for each in CLASSES].index(label),
        is_good=not boxes,
        boxes=boxes,
        boxes_complete=True,
        width=width,
        height=height,
        who=("eva",),
        source="review",
        is_plain=True,
    )


def box_at(x0, y0, x1, y1, label="open"):
    return ExportBox(x0, y0, x1, y1, label, [each.name for each in CLASSES].index(label))


def dataset_of(*photos):
    origin = Origin(group="photo", shares=(1.0, 0.0, 0.0), runs=(), fingerprints=(), newest_review=None)
    return ExportDataset(photos=photos, classes=CLASSES, rows=(), origin=origin)


@pytest.mark.parametrize("length", [768, 769, 1000, 1344, 4000, 12_000])
@pytest.mark.parametrize("side", [768, 640, 33])
def test_tiles_cover_a_side_with_a_quarter_of_overlap(length, side):
    starts = place_tiles(length, side)
    assert starts[0] == 0
    assert starts[-1] + side == max(length, side)
    assert all(later - earlier <= side - side // 4 + 1 for earlier, later in pairwise(starts))


def test_photos_no_larger_than_a_tile_stay_whole():
    dataset = dataset_of(photo_of(768, 500, box_at(1, 2, 3, 4)))
    assert cut_tiles(dataset, 768) == dataset


def test_tiles_are_named_by_their_place_and_stay_in_the_split():
    dataset = dataset_of(photo_of(1000, 600, box_at(0, 0, 9, 9)), photo_of(1000, 600, name="b", split="test"))
    tiles = cut_tiles(dataset, 768).photos
    assert [(tile.name, tile.window, tile.split) for tile in tiles] == [
        ("a-12345678-x0-y0.png", (0, 0, 768, 600), "train"),
        ("a-12345678-x232-y0.png", (232, 0, 1000, 600), "train"),
        ("b-12345678-x0-y0.png", (0, 0, 768, 600), "test"),
        ("b-12345678-x232-y0.png", (232, 0, 1000, 600), "test"),
    ]
    assert all((tile.width, tile.height, tile.is_plain) == (768, 600, False) for tile in tiles)


def test_a_small_box_is_whole_in_a_tile_wherever_it_lies():
    for x0 in range(0, 3980, 37):
        photo = photo_of(4000, 3000, box_at(x0, 1500, x0 + 150, 1600))
        boxes = [box for tile in cut_tiles(dataset_of(photo), 768).photos for box in tile.boxes]
        width = min(150, 4000 - x0)
        assert max(box.x1 - box.x0 for box in boxes) >= width
        assert all(0 <= box.x0 < box.x1 <= 768 for box in boxes)


def test_a_box_is_kept_where_half_of_it_lies_and_clipped_there():
    tiles = {
        tile.window[0]: tile for tile in cut_tiles(dataset_of(photo_of(150, 100, box_at(80, 10, 120, 20))), 100).photos
    }
    assert tiles[0].boxes == (box_at(80, 10, 100, 20),)
    assert tiles[50].boxes == (box_at(30, 10, 70, 20),)


def test_a_tile_with_less_than_half_of_a_defect_and_no_box_is_left_out():
    tiles = cut_tiles(dataset_of(photo_of(150, 100, box_at(90, 10, 130, 20))), 100).photos
    assert [tile.window[0] for tile in tiles] == [50]


def test_a_box_larger_than_a_tile_is_kept_where_most_of_it_lies():
    tiles = cut_tiles(dataset_of(photo_of(1000, 100, box_at(90, 0, 1000, 100))), 100).photos
    assert sum(len(tile.boxes) for tile in tiles) == 1


def test_tiles_take_the_label_of_what_they_show():
    photo = photo_of(175, 100, box_at(0, 0, 9, 9, "open"), box_at(150, 0, 170, 9, "short"))
    tiles = cut_tiles(dataset_of(photo, photo_of(100, 100, name="b")), 60).photos
    labels = {tile.name: (tile.label, tile.is_good) for tile in tiles}
    assert labels["a-12345678-x0-y0.png"] == ("open", False)
    assert labels["a-12345678-x115-y0.png"] == ("short", False)
    assert labels["a-12345678-x0-y40.png"] == ("ok", True)


def test_ok_share_limits_tiles_without_marking_their_photo():
    photo = photo_of(1000, 1000, box_at(10, 10, 50, 50))
    cut = cut_tiles(dataset_of(photo), 100)
    limited = limit_ok_share(cut, 0.5)
    assert sum(not tile.boxes for tile in limited.photos) == sum(bool(tile.boxes) for tile in limited.photos)
    assert limit_ok_share(limited, 0.5) == limited
    assert BEYOND_OK_SHARE not in limited.count_left_out()
