"""A folder -> every image file in it, once, sorted, whatever its name."""

import os
import sys
from pathlib import Path

import pytest

from pipeline.photos.decode import extensions, register_heif
from pipeline.photos.discover import discover
from pipeline.photos.folder_walk import escape
from pipeline.photos.selection import Selection


def touch(folder, *names):
    """Files of a few bytes, folders and all."""
    for name in names:
        file = os.path.join(os.fsencode(folder), os.fsencode(name))
        os.makedirs(os.path.dirname(file), exist_ok=True)
        with open(file, "wb") as stream:
            stream.write(b"x" * len(name))


def paths(root, **settings):
    return [ref.path for ref in discover(root, Selection(**settings)).refs]


def problems(root, **settings):
    return {ref.path: ref.problem for ref in discover(root, Selection(**settings)).refs}


def left_out(root, **settings):
    return discover(root, Selection(**settings)).left_out


def test_files_are_sorted_by_path_across_folders(tmp_path):
    touch(tmp_path, "b.jpg", "a/z.png", "a/b/c.gif", "a.jpg", "a-1.jpg", "Z.jpg")
    assert paths(tmp_path) == sorted(["b.jpg", "a/z.png", "a/b/c.gif", "a.jpg", "a-1.jpg", "Z.jpg"])


def test_ref_says_size_and_time_of_its_file(tmp_path):
    touch(tmp_path, "a/photo.jpg")
    os.utime(tmp_path / "a/photo.jpg", ns=(0, 1_234_567_890_123_456_789))
    (ref,) = discover(tmp_path).refs
    assert (ref.path, ref.path_bytes, ref.problem) == ("a/photo.jpg", None, None)
    assert (ref.file_bytes, ref.mtime_ns) == (11, 1_234_567_890_123_456_789)
    assert Path(ref.file) == tmp_path / "a/photo.jpg"


@pytest.mark.parametrize("extension", sorted(extensions()))
def test_every_extension_counts_in_any_case(tmp_path, extension):
    names = sorted(f"photo.{form}" for form in {extension, extension.upper(), extension.title()})
    touch(tmp_path, *names)
    assert paths(tmp_path) == names


def test_other_files_are_no_images(tmp_path):
    touch(tmp_path, "notes.txt", "jpg", ".jpg", "photo.jpg.part", "photo.jpg~", "photo.svg", "a.eps", "a.pdf", "a.")
    assert paths(tmp_path) == []


def test_heic_counts_only_with_its_extra(tmp_path, monkeypatch):
    touch(tmp_path, "a.heic", "b.HEIF", "c.jpg")
    register_heif.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    found = discover(tmp_path)
    assert [ref.path for ref in found.refs] == ["c.jpg"]
    assert found.left_out == {
        ".heic (pip install 'vitrollout[heif]')": 1,
        ".heif (pip install 'vitrollout[heif]')": 1,
    }
    register_heif.cache_clear()


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.png", ["a/b/deep.png", "a/one.png", "top.png"]),
        ("one.*", ["a/one.jpg", "a/one.png"]),
        ("a/*.png", ["a/b/deep.png", "a/one.png"]),
        ("*/b/*", ["a/b/deep.png"]),
        ("[!t]*.png", ["a/b/deep.png", "a/one.png"]),
        ("*.PNG", ["a/b/deep.png", "a/one.png", "top.png"]),
        ("[A-C]/One.*", ["a/one.jpg", "a/one.png"]),
        ("nothing*", []),
    ],
)
def test_pattern_matches_the_name_or_with_a_slash_the_path(tmp_path, pattern, expected):
    touch(tmp_path, "top.png", "top.jpg", "a/one.png", "a/one.jpg", "a/b/deep.png")
    assert paths(tmp_path, pattern=pattern) == expected


def test_pattern_can_not_let_in_what_is_no_image(tmp_path):
    touch(tmp_path, "a.txt", "a.jpg")
    assert paths(tmp_path, pattern="*") == ["a.jpg"]


def test_pattern_is_blind_to_case_and_unicode_forms(tmp_path):
    touch(tmp_path, "PRÜFUNG-1.JPG", "pru\u0308fung-2.jpg", "other.jpg", "Süd/a.jpg")
    assert paths(tmp_path, pattern="Prüfung-*.jpg") == ["PRÜFUNG-1.JPG", "pru\u0308fung-2.jpg"]
    assert paths(tmp_path, pattern="SU\u0308D/*") == ["Süd/a.jpg"]


# Left out


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg", "@eaDir/ (thumbnails)"),
        ("b/.@__thumb/s100a.jpg", ".@__thumb/ (thumbnails)"),
        ("nextcloud/appdata_oc1x/preview/1.png", "appdata_oc*/ (thumbnails)"),
        ("$Recycle.Bin/S-1-5-21/$R1.png", "$RECYCLE.BIN/ (waste basket)"),
        ("b/.Trash-1000/files/a.jpg", ".Trash*/ (waste basket)"),
        ("#RECYCLE/a.jpg", "#recycle/ (waste basket)"),
        ("~snapshot/daily.0/a.jpg", "~snapshot/ (snapshots)"),
        ("lost+found/#1234.jpg", "lost+found/ (of the file system)"),
        ("FOUND.000/a.jpg", "found.[0-9][0-9][0-9]/ (of the file system)"),
        ("__MACOSX/b/._a.jpg", "__MACOSX/ (resource forks of macOS)"),
        ("b/.ipynb_checkpoints/a-checkpoint.png", ".ipynb_checkpoints/ (notebook copies)"),
        (".git/a.png", ".*/ (hidden folder)"),
        ("b/._a.jpg", "._* (resource fork of macOS)"),
        ("b/.a.jpg", ".* (hidden file)"),
        ("SYNOFILE_THUMB_M.jpg", "SYNO* (thumbnail of a NAS)"),
    ],
)
def test_things_of_systems_are_left_out_and_counted_by_rule(tmp_path, name, rule):
    touch(tmp_path, "b/a.jpg", name)
    found = discover(tmp_path)
    assert [ref.path for ref in found.refs] == ["b/a.jpg"]
    assert found.left_out == {rule: 1}
    assert paths(tmp_path, hidden=True) == sorted(["b/a.jpg", name])


def test_folders_of_people_are_entered(tmp_path):
    names = ["thumbnails/a.jpg", "trash/a.jpg", "snapshot 1/a.jpg", "$100/a.jpg", "found.jpg/a.jpg", "@home/a.jpg"]
    touch(tmp_path / ".archive", *names)
    assert paths(tmp_path / ".archive") == sorted(names)
    assert left_out(tmp_path / ".archive") == {}


def test_other_files_of_systems_are_not_counted(tmp_path):
    touch(tmp_path, "a.jpg", ".DS_Store", "._.DS_Store", "Thumbs.db", "desktop.ini", ".nomedia", "notes.tmpl")
    assert left_out(tmp_path) == {}


def test_resource_forks_are_told_by_their_bytes_among_hidden_files(tmp_path):
    touch(tmp_path, "a.jpg", "._photo.jpg")
    (tmp_path / "._a.jpg").write_bytes(bytes.fromhex("0005160700020000") + b"Mac OS X")
    found = discover(tmp_path, Selection(hidden=True))
    assert [ref.path for ref in found.refs] == ["._photo.jpg", "a.jpg"]
    assert found.left_out == {"._* (resource fork of macOS)": 1}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["DSC_1.NEF", "b/DSC_2.nef", "IMG.Cr3"], {".nef (camera raw)": 2, ".cr3 (camera raw)": 1}),
        (["a.jxl"], {".jxl (JPEG XL)": 1}),
        (["a.dcm", "b.psd"], {".dcm (DICOM)": 1, ".psd (of an image editor)": 1}),
        (["a.jpg.part", "Unconfirmed 12.crdownload"], {".crdownload (unfinished)": 1, ".part (unfinished)": 1}),
        ([".IMG_1.jpg.icloud", "a.png.TMP"], {".icloud (unfinished)": 1, ".tmp (unfinished)": 1}),
        (["notes.txt", "movie.mp4", "a", "tmp", ".part"], {}),
    ],
)
def test_pictures_that_can_not_be_read_are_counted(tmp_path, caplog, names, expected):
    touch(tmp_path, "a.png", *names)
    with caplog.at_level("INFO"):
        found = discover(tmp_path)
    assert [ref.path for ref in found.refs] == ["a.png"]
    assert found.left_out == expected
    line = ", ".join(f"{count} {reason}" for reason, count in expected.items())
    assert caplog.messages == ([f"left out: {line}"] if expected else [])


def test_pictures_outside_the_pattern_are_not_counted(tmp_path):
    touch(tmp_path, "a.png", "a.nef", "b.nef", ".b.png")
    assert left_out(tmp_path, pattern="b*") == {".nef (camera raw)": 1}


@pytest.mark.parametrize(
    ("exclude", "expected", "counts"),
    [
        (("*_mask.png",), ["a/one.png", "raw/two.png"], {"excluded (--exclude)": 1}),
        (("RAW",), ["a/one.png", "a/one_mask.png"], {"excluded folder (--exclude)": 1}),
        (("a/*", "t*.png"), [], {"excluded (--exclude)": 3}),
        (("x*",), ["a/one.png", "a/one_mask.png", "raw/two.png"], {}),
    ],
)
def test_excluded_files_and_folders(tmp_path, exclude, expected, counts):
    touch(tmp_path, "a/one.png", "a/one_mask.png", "raw/two.png", "a/notes.txt")
    assert paths(tmp_path, exclude=exclude) == expected
    assert left_out(tmp_path, exclude=exclude) == counts


# Names


ODD_NAMES = [
    "with space.jpg",
    " leading and trailing .jpg",
    "quote'\".jpg",
    "new\nline.jpg",
    "tab\tand\rreturn.jpg",
    "emoji-\N{CAMERA}.jpg",
    "umlaut-ü.jpg",
    "umlaut-u\u0308.jpg",
    "back\\slash.jpg",
    "*?[x].jpg",
    "$(touch oops)`;&.jpg",
    "-rf.jpg",
    "%s%n{0}.jpg",
    "a.b.c.jpg",
    "~.jpg",
    "x" * 251 + ".jpg",
    "\N{CAMERA}" * 62 + "abc.jpg",  # 255 bytes
]


@pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
def test_odd_names_are_found_as_they_are(tmp_path, name):
    touch(tmp_path, f"folder {name}/{name}" if len(name.encode()) < 100 else name)
    (ref,) = discover(tmp_path).refs
    assert ref.path.endswith(name)
    assert ref.path_bytes is None
    assert Path(ref.file).is_file()


def test_names_that_are_not_utf_8_are_escaped_and_kept_raw(tmp_path):
    touch(tmp_path, b"f\xffolder/caf\xe9.jpg")
    (ref,) = discover(tmp_path).refs
    assert ref.path == r"f\xffolder/caf\xe9.jpg"
    assert ref.path_bytes == b"f\xffolder/caf\xe9.jpg"
    with open(ref.file, "rb") as stream:
        assert len(stream.read()) == ref.file_bytes == 16
    ref.path.encode()  # goes into the table


def test_escaped_name_that_is_another_file_s_real_name(tmp_path):
    names = [b"a\xff.jpg", rb"a\xff.jpg", rb"a\\xff.jpg", b"a\xff\\xff.jpg", b"a\\xff\xff.jpg", rb"a\xff\xff.jpg"]
    touch(tmp_path, *names)
    refs = discover(tmp_path).refs
    assert len({ref.path for ref in refs}) == len(names)
    by_name = {os.path.basename(os.fsencode(ref.file)): ref for ref in refs}
    assert set(by_name) == set(names)
    for name, ref in by_name.items():
        readable = b"\xff" not in name
        assert ref.path_bytes == (None if readable else name)
        if readable:
            assert ref.path == name.decode()
    assert paths(tmp_path) == paths(tmp_path), "the same in every run"


def test_escaped_name_does_not_depend_on_files_that_are_no_images(tmp_path):
    touch(tmp_path, b"a\xff.jpg", rb"a\xff.txt")
    assert paths(tmp_path) == [r"a\xff.jpg"]


def test_escape_is_readable():
    assert escape(os.fsdecode(b"a\xff\n\xc3\xbc")) == "a\\xff\n\u00fc"


# Links, pipes and folders


def test_links_to_files_are_followed_inside_and_outside(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    touch(inside, "real.jpg")
    touch(outside, "far.bin")
    (inside / "near.jpg").symlink_to("real.jpg")
    (inside / "far.jpg").symlink_to(outside / "far.bin")
    refs = {ref.path: ref for ref in discover(inside).refs}
    assert list(refs) == ["far.jpg", "near.jpg", "real.jpg"]
    assert {path: ref.file_bytes for path, ref in refs.items()} == {"far.jpg": 7, "near.jpg": 8, "real.jpg": 8}
    assert all(ref.problem is None for ref in refs.values())


def test_what_can_not_be_opened_has_a_problem(tmp_path):
    touch(tmp_path, "good.jpg")
    (tmp_path / "dangling.jpg").symlink_to("nowhere")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "ping.jpg").symlink_to("pong.jpg")
    (tmp_path / "pong.jpg").symlink_to("ping.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    (tmp_path / "to-pipe.jpg").symlink_to("pipe.jpg")
    found = problems(tmp_path)
    assert found.pop("good.jpg") is None
    assert found == {
        "dangling.jpg": "can't be opened: No such file or directory",
        "device.jpg": "not a regular file",
        "loop.jpg": "can't be opened: Too many levels of symbolic links",
        "ping.jpg": "can't be opened: Too many levels of symbolic links",
        "pipe.jpg": "not a regular file",
        "pong.jpg": "can't be opened: Too many levels of symbolic links",
        "to-pipe.jpg": "not a regular file",
    }


def test_folder_with_an_image_s_name_is_a_folder(tmp_path):
    touch(tmp_path, "x.jpg/inside.png")
    (tmp_path / "empty.jpg").mkdir()
    assert problems(tmp_path) == {"x.jpg/inside.png": None}


@pytest.fixture
def linked(tmp_path):
    """A folder with a real subfolder, a link to a folder outside, and links that go round in circles."""
    inside, outside = tmp_path / "in", tmp_path / "out"
    touch(inside, "top.jpg", "sub/a.jpg")
    touch(outside, "far.jpg", "deep/er.jpg")
    (inside / "link").symlink_to(outside)
    (inside / "again").symlink_to(outside)
    (inside / "sub/self").symlink_to(".")
    (inside / "sub/up").symlink_to("..")
    (outside / "back").symlink_to(inside)
    (inside / "above-sub").symlink_to("sub")
    return inside


def test_linked_folders_are_not_entered(linked):
    assert paths(linked) == ["sub/a.jpg", "top.jpg"]
    assert left_out(linked) == {"symlinked folder (not followed)": 5}
    assert left_out(linked, follow_links=True) == {}


def test_linked_folders_are_entered_once_when_asked(linked):
    found = paths(linked, follow_links=True)
    assert found == ["again/deep/er.jpg", "again/far.jpg", "sub/a.jpg", "top.jpg"]
    assert discover(linked, Selection(follow_links=True)).unreadable == {}


def test_link_upwards_finds_what_is_beside_the_root_once(tmp_path):
    touch(tmp_path, "in/a.jpg", "beside/b.jpg")
    (tmp_path / "in/up").symlink_to("..")
    assert paths(tmp_path / "in", follow_links=True) == ["a.jpg", "up/beside/b.jpg"]


def test_root_may_be_a_link(tmp_path):
    touch(tmp_path, "real/a.jpg")
    (tmp_path / "link").symlink_to("real")
    assert paths(tmp_path / "link") == ["a.jpg"]


def test_folder_that_can_not_be_read_is_named_and_the_rest_goes_on(tmp_path, file_permissions_hold, caplog):
    touch(tmp_path, "a.jpg", "closed/b.jpg", b"cl\xff/c.jpg", "z/d.jpg")
    closed = [tmp_path / "closed", tmp_path / os.fsdecode(b"cl\xff")]
    for folder in closed:
        folder.chmod(0)
    try:
        with file_permissions_hold():
            found = discover(tmp_path)
    finally:
        for folder in closed:
            folder.chmod(0o700)
    assert [ref.path for ref in found.refs] == ["a.jpg", "z/d.jpg"]
    assert found.unreadable == {"closed": "Permission denied", r"cl\xff": "Permission denied"}
    assert "closed" in caplog.text


def test_folder_that_lists_but_does_not_open_gives_problems(tmp_path, file_permissions_hold):
    """Readable without the right to enter: names are seen, files are not."""
    touch(tmp_path, "a.jpg", "odd/b.jpg")
    (tmp_path / "odd").chmod(0o400)
    try:
        with file_permissions_hold():
            found = problems(tmp_path)
    finally:
        (tmp_path / "odd").chmod(0o700)
    assert found == {"a.jpg": None, "odd/b.jpg": "can't be opened: Permission denied"}


def test_folder_that_vanishes_during_the_walk_is_named(tmp_path, monkeypatch):
    touch(tmp_path, "a.jpg", "gone/b.jpg")
    real_scandir = os.scandir

    def scandir(folder):
        entries = list(real_scandir(folder))
        if (tmp_path / "gone").is_dir():
            (tmp_path / "gone/b.jpg").unlink()
            (tmp_path / "gone").rmdir()
        return entries

    monkeypatch.setattr(os, "scandir", scandir)
    found = discover(tmp_path)
    assert [ref.path for ref in found.refs] == ["a.jpg"]
    assert found.unreadable == {"gone": "No such file or directory"}


def test_times_out_of_range_do_not_stop_the_walk(tmp_path):
    touch(tmp_path, "old.jpg", "new.jpg")
    os.utime(tmp_path / "old.jpg", (0, -(2**33)))
    os.utime(tmp_path / "new.jpg", (0, 2**33))
    assert {ref.path: ref.mtime_ns for ref in discover(tmp_path).refs} == {
        "old.jpg": (tmp_path / "old.jpg").stat().st_mtime_ns,
        "new.jpg": (tmp_path / "new.jpg").stat().st_mtime_ns,
    }


def test_thousands_of_nested_folders_are_walked(tmp_path):
    deep = tmp_path
    for _ in range(300):
        deep = deep / "d"
    deep.mkdir(parents=True)
    touch(deep, "a.jpg")
    assert paths(tmp_path) == ["d/" * 300 + "a.jpg"]
