"""Names of overlays: unique and short enough, regardless of the names of photos and folders."""

import itertools
import re

import pytest

from pipeline.results.names import overlay_name, safe_overlay_name


def test_overlay_is_named_after_its_photo():
    assert overlay_name("a.jpg") == "overlays/a.jpg.png"
    assert overlay_name("a/b c/d.PNG") == "overlays/a/b c/d.PNG.png"


def every_path(names, depth):
    """Yield all paths of up to `depth` parts made of the names."""
    for parts in range(1, depth + 1):
        yield from ("/".join(path) for path in itertools.product(names, repeat=parts))


def assert_no_conflicts(paths):
    """Check that no overlay has the name of another one, or of a folder of another one."""
    names = [overlay_name(path) for path in paths]
    assert len(set(names)) == len(names)
    folders = {name.rsplit("/", depth)[0] for name in names for depth in range(1, name.count("/") + 1)}
    assert not folders & set(names)


def test_no_two_photos_share_an_overlay():
    folders = ["x", "x.jpg", "x.jpg.png", "x.jpg.png~", "x.jpg.png~~", "x.png", "~", "overlays", "x.jpg.PNG", ".png"]
    photos = ["x.jpg", "x.png", "x.jpg.png", "x.jpg.png.png", "X.jpg", "x.jpeg"]
    assert_no_conflicts([*photos, *(f"{path}/{photo}" for path in every_path(folders, 2) for photo in photos)])


LONG = ["a" * 251 + ".jpg", "a" * 247 + ".jpg", "a" * 248 + ".jpg", "a" * 250 + "b.jpg", "\N{CAMERA}" * 62 + "abc.jpg"]
LONG_FOLDERS = ["a" * 251 + ".png", "a" * 255, "\N{CAMERA}" * 63 + "b.g", "a" * 250 + ".png~", r"\xff" * 255]


def test_no_two_long_names_share_an_overlay():
    assert_no_conflicts([*LONG, *(f"{folder}/{photo}" for folder in LONG_FOLDERS for photo in ["x.jpg", *LONG])])


def test_no_folder_has_the_truncated_name_of_another():
    long = "a" * 251 + ".png"
    truncated = overlay_name(f"{long}/x.jpg").split("/")[1]
    truncated_twice = overlay_name(f"{truncated}/x.jpg").split("/")[1]
    assert_no_conflicts([f"{folder}/x.jpg" for folder in (long, truncated, truncated_twice)])


def test_no_two_deep_paths_share_an_overlay():
    deep = "/".join(["d" * 200] * 15)
    assert_no_conflicts([f"{deep}/x.jpg", f"{deep}/y.jpg", f"{deep}/d/x.jpg", "~/x.jpg"])
    name = overlay_name(f"{deep}/x.jpg")
    assert len(name) <= 2000
    assert_no_conflicts([f"{deep}/x.jpg", name.removeprefix("overlays/").removesuffix(".png") + ".jpg"])


@pytest.mark.parametrize("path", [*LONG, *(f"{folder}/{photo}" for folder in LONG_FOLDERS for photo in LONG)])
def test_every_overlay_fits_the_file_system(tmp_path, path):
    name = overlay_name(path)
    assert max(len(part.encode()) for part in name.split("/")) <= 255
    assert len(name.encode()) <= 2000
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")


def test_ordinary_names_are_unchanged():
    for path in ["a.jpg", "a~b/c~.jpg", "x.png", "a/x.jpg.png", "~/a.jpg", "a" * 247 + ".jpg", "é/ü.jpg"]:
        assert overlay_name(path) == f"overlays/{path}.png"


@pytest.mark.parametrize(
    "path", ["a:b/what?.jpg", "con.png", "\u691c\u67fb/\u691c\u67fb.tif", "x" * 300 + ".gif", "tail. /a.gif"]
)
def test_safe_names_are_plain_short_and_unique(path):
    name = safe_overlay_name(overlay_name(path))
    assert re.fullmatch(r"overlays/~/_[A-Za-z0-9._-]{1,60}~[0-9a-f]{16}\.png", name)
    assert name != safe_overlay_name(overlay_name(path.replace("a", "b") + ".jpg"))
    assert len(name.rpartition("/")[2]) <= 143
