"""Paths in CSVs: one file, one name, however it is written."""

import os

import pytest

from pipeline.errors import DataError
from pipeline.labelled.csv_paths import match_names, name_csv_path, resolve_csv_path
from pipeline.labelled.csv_table import read_paths
from pipeline.labelled.read import read_labelled_photos

COMPOSED, DECOMPOSED = "prüfling-é.png", "pru\u0308fling-e\u0301.png"


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_are_named(separator, tmp_path):
    (tmp_path / "labels.csv").write_text(f"path{separator}label\na.png{separator}ok\n")
    with pytest.raises(DataError, match="separated by semicolons or tabs; separate them by commas"):
        read_paths(tmp_path / "labels.csv", tmp_path, "label")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data" / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.png", f"sub/{DECOMPOSED}", "back\\slash.png"):
        (tmp_path / "data" / name).touch()
    (tmp_path / "outside.png").touch()
    (tmp_path / "link").symlink_to("data")
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("sub/b.png", "sub/b.png"),
        ("./sub//b.png", "sub/b.png"),
        ("sub/../a.png", "a.png"),
        ("{data}/sub/b.png", "sub/b.png"),
        ("{data}/../link/sub/b.png", "sub/b.png"),
        (" a.png ", "a.png"),
        ("sub\\b.png", "sub/b.png"),
        ("back\\slash.png", "back\\slash.png"),
        ("../outside.png", "../outside.png"),
        ("{data}/../outside.png", "{parent}/outside.png"),
        (f"sub/{COMPOSED}", f"sub/{DECOMPOSED}"),
        (f"{{data}}/sub/{COMPOSED}", f"sub/{DECOMPOSED}"),
    ],
)
def test_a_path_names_its_file(folder, text, name):
    places = {"data": folder, "parent": folder.parent}
    path = resolve_csv_path(text.format(**places), folder)
    assert path.name == name.format(**places)
    assert path.file.is_file()
    assert os.path.samefile(path.file, folder / path.name)


def test_a_missing_file_keeps_its_name(folder):
    assert resolve_csv_path("sub/gone-ü.png", folder).name == "sub/gone-ü.png"
    assert resolve_csv_path(f"{folder}/gone.png", folder).name == "gone.png"
    assert not resolve_csv_path("gone.png", folder).file.exists()


def test_an_exact_name_comes_before_its_twin(folder):
    (folder / "sub" / COMPOSED).write_text("composed")
    assert resolve_csv_path(f"sub/{COMPOSED}", folder).file.read_text() == "composed"
    assert resolve_csv_path(f"sub/{DECOMPOSED}", folder).file.read_text() == ""


def test_names_without_a_look_at_the_disk(tmp_path):
    assert name_csv_path("./a//b.png", tmp_path / "gone") == "a/b.png"
    assert name_csv_path(f"{tmp_path}/gone/a/b.png", tmp_path / "gone") == "a/b.png"
    assert name_csv_path("/elsewhere/b.png", tmp_path / "gone") == "/elsewhere/b.png"


def test_values_are_found_for_names_in_another_form():
    values = {COMPOSED: 1, "a.png": 2, DECOMPOSED.upper(): 3}
    matched = match_names(values, [DECOMPOSED, "a.png", "b.png", COMPOSED.upper()])
    assert matched == values | {DECOMPOSED: 1, COMPOSED.upper(): 3}


def test_a_labelled_csv_with_absolute_paths_and_other_forms(folder):
    file = folder / "labels.csv"
    file.write_text(f"path,label\n{folder}/a.png,ok\nsub/{COMPOSED},bad\n{folder.parent}/outside.png,ok\n")
    photos = read_labelled_photos(file)
    assert [photo.name for photo in photos] == ["a.png", f"sub/{DECOMPOSED}", f"{folder.parent}/outside.png"]
    assert all(photo.file.is_file() for photo in photos)


@pytest.mark.parametrize("again", ["{data}/a.png", "sub/../a.png", "{data}/../link/a.png"])
def test_one_file_under_two_spellings_occurs_twice(folder, again):
    file = folder / "labels.csv"
    file.write_text(f"path,label\na.png,ok\n{again.format(data=folder)},bad\n")
    with pytest.raises(DataError, match=r"path occurs twice in line 3 \(a.png\)"):
        read_labelled_photos(file)


def test_a_csv_elsewhere_may_start_at_another_folder(folder, tmp_path):
    (tmp_path / "boxes").mkdir()
    file = tmp_path / "boxes" / "boxes.csv"
    file.write_text(f"path,x0\na.png,1\n{folder}/sub/b.png,2\n")
    table = read_paths(file, folder)
    assert table["path"].tolist() == ["a.png", "sub/b.png"]
    assert all(file.is_file() for file in table["file"])
