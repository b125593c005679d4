"""Whole exports: what is written, what is refused, and what a fault leaves behind."""

import hashlib
import json
import os
import signal
from collections import Counter

import duckdb
import pandas as pd
import pytest
from PIL import Image

import pipeline
from pipeline.config import RunConfig
from pipeline.errors import ConfigError, DataError, StoppedError, StoreError
from pipeline.export.config import FORMAT_NAMES, ExportConfig
from pipeline.export.export import export
from pipeline.results.read import read_results
from pipeline.run import run
from tests.export.archive import GROUPS, KINDS, PLAIN, draw_photo, make_archive, review_photos
from tests.helpers.commands import run_vitrollout, start_vitrollout
from tests.helpers.disks import small_disks

A, B = "board-0/exif-1.jpg", "board-3/exif-4.jpg"


def configure(archive, **settings):
    out = archive.results.parent / "data"
    return ExportConfig(**{"results": archive.results, "out": out, "format": "coco", "group": GROUPS} | settings)


def digests(folder):
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def manifest(folder):
    return pd.read_parquet(folder / "manifest.parquet").set_index("path")


def test_every_folder_describes_itself(exported):
    archive, out = exported
    for name in FORMAT_NAMES:
        about = json.loads((out / name / "export.json").read_text())
        assert about["format"] == name
        assert about["classes"] == [{"id": index, "name": label} for index, label in enumerate(("ok", "open", "short"))]
        assert sum(sum(split.values()) for split in about["photos"].values()) == len(archive.labels)
        assert (about["boxes"], about["without_boxes"], about["left_out"]) == (25, 12, {})
        assert (about["group"], about["shares"]) == (GROUPS, [0.7, 0.15, 0.15])
        card = (out / name / "README.md").read_text()
        assert card.startswith('---\nlicense: "unknown"\n')
        assert "| 2 | short |" in card
        assert f"| all | {' | '.join(str(sum(split.values())) for split in about['photos'].values())} |" in card
    assert json.loads((out / "export.json").read_text()) == {"formats": list(FORMAT_NAMES)}


def test_the_manifest_has_a_row_for_every_photo_of_the_table(archive):
    review_photos(archive, {A: {"verdict": "unsure", "label": None, "boxes": ()}, B: {"boxes_complete": False}})
    result = export(configure(archive))
    rows = manifest(archive.results.parent / "data")
    assert list(rows.index) == list(read_results(archive.results, columns=["path"])["path"])
    assert rows.loc[[A, B], "left_out"].tolist() == ["unsure", "boxes not complete"]
    exported = rows[rows["left_out"].isna()]
    assert len(exported) == len(archive.labels) - 2
    assert exported["label"].to_dict() == {path: archive.labels[path] for path in exported.index}
    assert all((archive.results.parent / "data" / file).is_file() for file in exported["file"])
    assert exported["n_boxes"].tolist() == [int(path in archive.defects) for path in exported.index]
    assert {tuple(who) for who in exported["reviewed_by"]} == {("eva",)}
    assert rows.loc[[A, B], ["file", "split", "group"]].isna().all(axis=None)
    assert result.formats["coco"].about["left_out"] == {"boxes not complete": 1, "unsure": 1}


def test_no_group_is_on_two_sides(exported):
    _, out = exported
    for name in FORMAT_NAMES:
        query = f"select \"group\" from '{out}/{name}/manifest.parquet' group by 1 having count(distinct split) > 1"
        assert duckdb.sql(query).fetchall() == []


def test_plain_photos_are_the_same_bytes_and_all_others_upright_png(exported):
    archive, out = exported
    rows = manifest(out / "csv")
    for path, file in rows["file"].items():
        content = (out / "csv" / file).read_bytes()
        kind = path.rpartition("/")[2]
        assert (content == (archive.photos / path).read_bytes()) == (kind in (*PLAIN, "good.png"))
        with Image.open(out / "csv" / file) as picture:
            assert picture.size == (64, 48)
            assert picture.mode in ("RGB", "L")
            assert picture.getexif().get(0x112, 1) == 1


def test_the_same_export_twice_is_the_same_bytes(exported, tmp_path):
    archive, out = exported
    export(configure(archive, out=tmp_path / "again", format=FORMAT_NAMES, photos="link"))
    assert digests(tmp_path / "again") == digests(out)


def test_later_rounds_move_no_photo_and_no_id(unreviewed, tiny_vit, tmp_path):
    """Eight boards, then twelve, and a new class; check 19 of the specification."""
    archive = make_archive(tmp_path / "own", tiny_vit, boards=20)
    first = {path: {} for path in archive.labels if int(path[6:].partition("/")[0]) < 14}
    review_photos(archive, first)
    export(configure(archive))
    before = manifest(archive.results.parent / "data")
    review_photos(archive, {path: {} for path in archive.labels if path not in first})
    path = sorted(set(archive.labels) - set(first))[0]
    review_photos(archive, {path: {"label": "burr", "boxes": ()}}, who="eva")
    export(configure(archive, replace=True, group=None))
    after = manifest(archive.results.parent / "data")
    columns = ["file", "split", "group"]
    assert len(first) > 10
    pd.testing.assert_frame_equal(after.loc[list(first), columns], before.loc[list(first), columns])
    about = json.loads((archive.results.parent / "data/export.json").read_text())
    assert [each["name"] for each in about["classes"]] == ["ok", "open", "short", "burr"]


def test_linked_photos(archive):
    export(configure(archive, photos="link"))
    file = manifest(archive.results.parent / "data").loc[A, "file"]
    assert os.path.samefile(archive.results.parent / "data" / file, archive.photos / A)


def test_share_of_photos_without_a_defect(archive):
    export(configure(archive, ok_share=0.2))
    about = json.loads((archive.results.parent / "data/export.json").read_text())
    for counts in about["photos"].values():
        assert counts.get("ok", 0) <= 0.2 * sum(counts.values())
    assert about["left_out"]["beyond ok-share"] == 12 - about["without_boxes"]


def test_a_split_without_photos_is_told(archive, caplog):
    export(configure(archive, shares="1,0,0", format="yolo"))
    assert "yolo: no photo is in validation, and most trainers stop at that" in caplog.text


def test_keyword_arguments(archive):
    result = pipeline.export(results=archive.results, out=archive.results.parent / "data", format="csv", group="photo")
    assert result.formats["csv"].about["boxes"] == 25


# what is refused


def test_an_earlier_export_is_replaced_only_on_request(archive):
    export(configure(archive, format="csv"))
    with pytest.raises(ConfigError, match="holds an earlier export; --replace replaces it"):
        export(configure(archive, format="coco"))
    export(configure(archive, format="coco", replace=True))
    assert not (archive.results.parent / "data/labels.csv").exists()
    assert (archive.results.parent / "data/train/_annotations.coco.json").exists()


def test_folders_of_others_are_never_replaced(archive):
    out = archive.results.parent / "data"
    out.mkdir()
    export(configure(archive, format="csv"))  # empty: nothing is lost
    (out / "export.json").unlink()
    with pytest.raises(ConfigError, match="holds files of others"):
        export(configure(archive, replace=True))


def test_the_data_set_lies_among_neither_photos_nor_results(archive):
    with pytest.raises(ConfigError, match="must lie outside the results folder"):
        configure(archive, out=archive.results / "data")
    with pytest.raises(ConfigError, match="lies inside the input folder"):
        export(configure(archive, out=archive.photos / "data"))


def test_no_photo_with_boxes(unreviewed):
    review_photos(unreviewed, {A: {"boxes_complete": False}})
    with pytest.raises(DataError, match="coco: none of 1 labelled photos has complete boxes; draw them with"):
        export(configure(unreviewed))
    assert not (unreviewed.results.parent / "data").exists()


def test_no_photo_that_can_be_read(unreviewed, tmp_path, tiny_vit):
    archive = make_archive(tmp_path / "own", tiny_vit)
    review_photos(archive, {A: {}})
    (archive.photos / A).unlink()
    with pytest.raises(DataError, match=r"nothing to export \(36 not reviewed, 1 gone\)"):
        export(configure(archive))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"format": "cocoa"}, "format = cocoa"),
        ({"format": ""}, "must name a format"),
        ({"also": "model>0.9"}, 'must be "model>=SCORE"'),
        ({"shares": "0.7,0.7"}, "must be three shares"),
        ({"group": "("}, "is not a regular expression"),
        ({"results": "/nowhere"}, "no such folder; name the --out of a run"),
        ({"labels": "/nowhere.csv"}, "no such file"),
    ],
)
def test_wrong_settings(archive, settings, message):
    with pytest.raises(ConfigError, match=message):
        configure(archive, **settings)


def test_a_folder_without_results(tmp_path):
    with pytest.raises(DataError, match="no run has finished here"):
        export(ExportConfig(results=tmp_path, out=tmp_path.parent / "data", format="csv", group="photo"))


# faults


def test_a_stop_leaves_nothing(archive):
    with pytest.raises(StoppedError, match="nothing was exported"):
        export(configure(archive), stop=lambda: True)
    assert os.listdir(archive.results.parent) == ["results"]


def test_a_full_disk_leaves_the_old_data_set(archive, tmp_path):
    with small_disks() as mount_disk:
        remount = mount_disk(tmp_path / "disk", "4m")
        out = tmp_path / "disk/data"
        export(configure(archive, out=out, format="csv"))
        before = digests(out)
        remount(f"size={(os.statvfs(out).f_blocks - os.statvfs(out).f_bfree + 8) * 4096}")
        with pytest.raises(StoreError, match=r"No space left on device.*is as before"):
            export(configure(archive, out=out, format=FORMAT_NAMES, replace=True))
        assert digests(out) == before
        assert os.listdir(tmp_path / "disk") == ["data"]


def count_files(folders):
    """Count files and folders; those removed meanwhile don't matter."""
    return sum(1 + len(names) for folder in folders for _, _, names in os.walk(folder))


def test_a_kill_at_any_moment_leaves_the_old_or_the_new_one(archive, tmp_path):
    out = tmp_path / "data"
    export(configure(archive, out=out, format="csv"))
    old = digests(out)
    export(configure(archive, out=tmp_path / "new", format=("csv", "coco")))
    new = digests(tmp_path / "new")
    outcomes = Counter()
    for number in range(6):
        process = start_vitrollout("export", archive.results, "--format", "csv,coco", "--out", out, "--replace")
        wanted = 1 + number * len(old) // 2  # files and folders in the making: a later moment each time
        while count_files(tmp_path.glob(".data.export-*")) < wanted:
            if process.returncode is not None:
                break  # finished before
        process.send_signal(signal.SIGKILL)
        process.communicate()
        found = digests(out)
        assert found in (old, new)
        outcomes["new" if found == new else "old"] += 1
    export(configure(archive, out=out, format=("csv", "coco"), replace=True))
    assert sorted(os.listdir(tmp_path)) == ["data", "new", "results"]  # what kills left is gone


# the command


def test_the_command_reports_numbers_and_faults(tmp_path, tiny_vit):
    archive = make_archive(tmp_path / "own", tiny_vit)
    review_photos(archive)
    (archive.photos / A).unlink()
    out = tmp_path / "data"
    done = run_vitrollout("export", archive.results, "--format", "coco,csv", "--out", out, "--group", GROUPS)
    assert done.returncode == 3
    assert f"{A}: left out: gone (No such file or directory)" in done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["out"], summary["failed"]) == (str(out), 1)
    coco = summary["formats"]["coco"]
    assert (coco["boxes"], coco["left_out"]) == (24, {"gone": 1})
    assert coco["files"] == len(digests(out / "coco"))
    assert sum(sum(labels.values()) for labels in coco["photos"].values()) == 36


def test_groups_by_likeness_are_refused(archive):
    with pytest.raises(ConfigError, match=r"group = similar: not possible for .*splits\.csv"):
        export(configure(archive, group="similar"))


def test_the_command_asks_for_groups(archive):
    done = run_vitrollout("export", archive.results, "--format", "csv", "--out", archive.results.parent / "data")
    assert done.returncode == 2
    assert "group: not given" in done.stderr
    assert not (archive.results.parent / "data").exists()


def test_photos_impossible_to_decode_by_now(archive, tmp_path, tiny_vit):
    """A photo that fails in the decoder although its row is fine: its file was replaced, with size and time kept."""
    archive = make_archive(tmp_path / "own", tiny_vit)
    review_photos(archive)
    file = archive.photos / next(path for path in archive.labels if path.endswith("cmyk.jpg"))
    status = file.stat()
    file.write_bytes(b"x" * status.st_size)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    result = export(configure(archive))
    assert result.faults == 1
    assert result.formats["coco"].about["left_out"] == {"changed": 1}


def test_a_run_in_between_does_not_matter(archive, tmp_path, tiny_vit):
    """A photo changed and run again is a new photo without a review."""
    archive = make_archive(tmp_path / "own", tiny_vit)
    review_photos(archive)
    draw_photo(250, "open").save(archive.photos / A, quality=97)
    run(RunConfig(input=archive.photos, out=archive.results, model=str(tiny_vit), report=False, workers=1,
                  overlay_size=None))  # fmt: skip
    result = export(configure(archive, format="csv"))
    assert result.formats["csv"].about["left_out"] == {"not reviewed": 1}
    assert result.faults == 0
    assert len(KINDS) + 12 - 1 == result.formats["csv"].files - 5
