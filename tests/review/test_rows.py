import numpy as np
import pytest

from pipeline.errors import ConfigError, StoreError
from pipeline.results.conditions import parse_where
from pipeline.results.names import part_files
from pipeline.review.rows import read_rows
from pipeline.reviews.audit import audit_position
from tests.helpers.tables import FAILED, flip_a_bit, make_row, write_run

A, B, C = ("0a" * 16, "0b" * 16, "0c" * 16)


def test_newest_row_of_each_photo_with_a_prediction(tmp_path):
    out, source = tmp_path / "out", tmp_path / "photos"
    write_run(out, source, [make_row("c.png", content_hash=A), make_row("a.png", content_hash=B)])
    write_run(out, source, [make_row("c.png", content_hash=C, score=0.6), make_row("b.png", **FAILED)])
    rows = read_rows(out)
    assert rows.table["path"].to_pylist() == ["a.png", "c.png"]
    assert rows.value("content_hash", 1) == C
    assert (rows.failed, rows.source) == (1, source)
    assert rows.find_path("c.png") == 1
    assert rows.find_path("b.png") is None


def test_rows_of_a_content(tmp_path):
    photos = [make_row("a.png", content_hash=B), make_row("b.png", content_hash=A), make_row("c.png", content_hash=B)]
    write_run(tmp_path, tmp_path / "photos", photos)
    rows = read_rows(tmp_path)
    assert [rows.find_hash(content).tolist() for content in (A, B, C)] == [[1], [0, 2], []]
    assert rows.find_hash(A + "00").tolist() == rows.find_hash("").tolist() == rows.find_hash("ä").tolist() == []


def test_margin_is_the_best_score_minus_the_second(tmp_path):
    one = np.array([0.9], np.float32)
    photos = [
        make_row("a.png"),
        make_row("b.png", score=0.9, top_labels=["ok"], top_scores=one),
        make_row("c.png", score=0.9, top_labels=None, top_scores=None),
    ]
    write_run(tmp_path, tmp_path / "photos", photos)
    np.testing.assert_allclose(read_rows(tmp_path).margins, [0.5, 0.9, 0.9], rtol=1e-6)


def test_labels_and_audit(tmp_path):
    photos = [make_row("a.png", label="x", content_hash=A), make_row("b.png", label="y", content_hash=B)]
    write_run(tmp_path, tmp_path / "photos", photos)
    rows = read_rows(tmp_path)
    assert [rows.label_names[code] for code in rows.label_codes] == ["x", "y"]
    assert rows.audit_positions.tolist() == [audit_position(A), audit_position(B)]


def test_a_condition_selects_and_drops_nothing(tmp_path):
    write_run(tmp_path, tmp_path / "photos", [make_row("a.png", score=0.9), make_row("b.png", score=0.4)])
    rows = read_rows(tmp_path, parse_where("score<0.8 and grid_h==2"))
    assert len(rows) == 2
    assert rows.selected.tolist() == [False, True]


@pytest.mark.parametrize("path", ["../secret.png", "a/../../secret.png", "/etc/passwd", "a\0.png"])
def test_no_file_outside_the_input_folder(tmp_path, path):
    write_run(tmp_path / "out", tmp_path / "photos", [make_row(path)])
    assert read_rows(tmp_path / "out").photo_file(0) is None


def test_file_with_a_name_that_is_not_utf8(tmp_path):
    write_run(tmp_path / "out", tmp_path / "photos", [make_row("x\\xff.png", path_bytes=b"x\xff.png")])
    assert read_rows(tmp_path / "out").photo_file(0) == bytes(tmp_path / "photos") + b"/x\xff.png"


def test_folders_without_anything_to_review(tmp_path):
    with pytest.raises(ConfigError, match="is not a results folder"):
        read_rows(tmp_path)
    write_run(tmp_path, tmp_path / "photos")
    with pytest.raises(ConfigError, match="has nothing to review: no photos yet"):
        read_rows(tmp_path)
    write_run(tmp_path, tmp_path / "photos", [make_row("a.png", **FAILED)])
    with pytest.raises(ConfigError, match="nothing to review: 1 failed photos"):
        read_rows(tmp_path)


def test_damaged_part(tmp_path):
    write_run(tmp_path, tmp_path / "photos", [make_row("a.png")])
    flip_a_bit(part_files(tmp_path)[0], "score")
    with pytest.raises(StoreError, match="--repair sets it aside"):
        read_rows(tmp_path)
