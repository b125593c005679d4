"""A CSV with boxes: one photo of all rows with its path."""

import pytest

from pipeline.errors import DataError
from pipeline.labelled.read import read_labelled_photos
from pipeline.labelled.splits import LabelledBox, write_split_csv
from tests.helpers.photos import save_photos

HEADER = "path,label,x0,y0,x1,y1"
A, B = "photo-0000.png", "photo-0001.png"


@pytest.fixture
def read(tmp_path):
    """A function from the header and the rows of a CSV to its photos; two photos are there."""
    save_photos(tmp_path, 2)

    def make(header, *rows):
        file = tmp_path / "boxes.csv"
        file.write_text("\n".join([header, *rows]) + "\n")
        return read_labelled_photos(file)

    return make


def test_all_rows_of_a_photo_are_its_boxes(read):
    first, second = read(HEADER, f"{A},dent,1,2,11,12", f"{B},hole,0,0,5.5,6", f"{A},hole,20,2,30,9.25")
    assert (first.name, second.name) == (A, B)
    assert first.boxes == (LabelledBox("dent", (1, 2, 11, 12)), LabelledBox("hole", (20, 2, 30, 9.25)))
    assert second.boxes == (LabelledBox("hole", (0, 0, 5.5, 6)),)


def test_the_most_frequent_label_of_its_boxes_is_that_of_the_photo(read):
    corners = ("0,0,5,5", "10,0,15,5", "20,0,25,5")
    photo, _ = read(
        HEADER,
        *(f"{A},{label},{box}" for label, box in zip(("dent", "hole", "hole"), corners, strict=True)),
        f"{B},ok,,,,",
    )
    assert (photo.label, len(photo.boxes)) == ("hole", 3)


def test_a_good_photo_without_corners_has_no_defect(read):
    good, _ = read(HEADER, f"{A},ok,,,,", f"{B},dent,1,2,3,4")
    assert (good.label, good.boxes) == ("ok", ())


def test_a_defect_without_corners_leaves_the_places_unknown(read):
    """Also of a photo with further defects: a window beside their boxes may show the one without a box."""
    first, second = read(HEADER, f"{A},dent,,,,", f"{B},hole,1,2,3,4", f"{B},dent,,,,", f"{B},dent,,,,")
    assert [(photo.label, photo.boxes) for photo in (first, second)] == [("dent", None), ("dent", None)]


def test_corners_may_all_be_empty(read):
    """As before anybody has drawn a box, or in a CSV of good photos."""
    first, second = read(HEADER, f"{A},dent,,,,", f"{B},ok,,,,")
    assert (first.boxes, second.boxes) == (None, ())


def test_a_good_row_beside_boxes_says_nothing(read):
    photo, _ = read(HEADER, f"{A},ok,,,,", f"{A},dent,1,2,3,4", f"{B},ok,,,,")
    assert (photo.label, photo.boxes) == ("dent", (LabelledBox("dent", (1, 2, 3, 4)),))


def test_a_box_of_a_good_part_is_named_by_its_line(read):
    with pytest.raises(DataError, match=rf"a box is labelled as good in line 3 \({A}\), line 4 \({B}\); correct"):
        read(HEADER, f"{A},dent,1,2,3,4", f"{A},ok,1,2,3,4", f"{B},Good,1,2,3,4")


@pytest.mark.parametrize("corners", ["1,2,1,4", "5,2,3,4", "1,2,3,2", "1,2,3,", "1,2,inf,4", "nan,2,3,4", "a,b,c,d"])
def test_impossible_corners_are_named_by_their_line(read, corners):
    with pytest.raises(DataError, match=rf"x0, y0, x1, y1 are not a box in line 3 \({B}\); correct the CSV"):
        read(HEADER, f"{A},dent,1,2,3,4", f"{B},dent,{corners}")


def test_impossible_corners_below_a_row_without_a_box_are_named_by_their_line(read):
    with pytest.raises(DataError, match=rf"x0, y0, x1, y1 are not a box in line 3 \({B}\); correct the CSV"):
        read(HEADER, f"{A},ok,,,,", f"{B},dent,5,2,3,4")


@pytest.mark.parametrize(("column", "values"), [("split", ("train", "test")), ("weight", ("1", "0.5"))])
def test_rows_of_one_photo_may_not_contradict_each_other(read, column, values):
    rows = [f"{A},dent,{number},2,9,9,{value}" for number, value in enumerate(values)]
    with pytest.raises(DataError, match=f"the rows of {A} differ in split or weight; correct the CSV"):
        read(f"{HEADER},{column}", *rows)
    photo, _ = read(f"{HEADER},{column}", rows[1], rows[1], f"{B},dent,1,2,3,4,{values[0]}")
    assert str(getattr(photo, column)) == values[1]


@pytest.mark.parametrize("header", ["path,label", "path,label,x0,y0,x1"])
def test_without_all_corners_a_path_may_occur_once(read, header):
    row = f"{A},dent,1,2,3"
    with pytest.raises(DataError, match=rf"path occurs twice in line 3 \({A}\)"):
        read(header, row, row)
    (photo,) = read(header, row)
    assert photo.boxes is None


def test_a_split_csv_with_boxes_is_read_back_equal(read, tmp_path):
    written = read(
        f"{HEADER},split",
        f"{A},dent,1,2,11,12.5,train",
        f"{A},hole,20,2,30,9.25,train",
        f"{B},ok,,,,,test",
    )
    write_split_csv(written, tmp_path / "split.csv")
    assert (tmp_path / "split.csv").read_text().splitlines() == [
        "path,label,split,root,x0,y0,x1,y1",
        f"{A},dent,train,,1,2,11,12.5",
        f"{A},hole,train,,20,2,30,9.25",
        f"{B},ok,test,,,,,",
    ]
    assert read_labelled_photos(tmp_path / "split.csv") == written


def test_a_split_csv_keeps_fractions_of_pixels_in_large_photos(read, tmp_path):
    written = read(f"{HEADER},split", f"{A},dent,12345.25,2,12346.75,9,train", f"{B},ok,,,,,test")
    write_split_csv(written, tmp_path / "split.csv")
    assert read_labelled_photos(tmp_path / "split.csv") == written


def test_a_split_csv_without_boxes_has_no_corners(read, tmp_path):
    write_split_csv(read("path,label,split", f"{A},dent,train", f"{B},ok,test"), tmp_path / "split.csv")
    assert (tmp_path / "split.csv").read_text().splitlines()[0] == "path,label,split,root"
