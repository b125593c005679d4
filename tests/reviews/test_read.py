"""Reading reviews: damaged files, repeated records, and readers that aren't ours."""

import json

import duckdb
import pandas as pd
import pytest

import pipeline
from pipeline.errors import ConfigError, StoreError
from pipeline.reviews.classes import extend_classes
from pipeline.reviews.fold import fold_sessions
from pipeline.reviews.read import read_review_table, read_truths
from pipeline.reviews.session import ReviewSession
from tests.helpers.reviews import make_box, make_review, withdraw, write_reviews


def ids_of(out):
    return read_review_table(out)["id"].to_pylist()


def test_records_of_all_sessions_oldest_first(tmp_path):
    records = [make_review() for _ in range(6)]
    write_reviews(tmp_path, records[3:])
    fold_sessions(tmp_path)
    write_reviews(tmp_path, records[1:3], "Ben")
    write_reviews(tmp_path, records[:1], "Cleo")
    assert ids_of(tmp_path) == [record.id for record in records]


@pytest.mark.parametrize("cut", [1, 20, 300])
def test_a_last_line_without_an_end_is_left_out(tmp_path, cut, caplog):
    records = [make_review(), make_review()]
    file = write_reviews(tmp_path, records)
    file.write_bytes(file.read_bytes()[:-cut])
    assert ids_of(tmp_path) == [records[0].id]
    assert caplog.text == ""


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: b"\0" * len(line),
        lambda line: line[: len(line) // 2],
        lambda line: b"{}",
        lambda line: line.replace(b'"confirmed"', b'"sure"'),
        lambda line: line.replace(b'"label":"short"', b'"label":null'),
        lambda line: line.replace(b'"content_hash":"b"', b'"content_hash":null'),
        lambda line: line.replace(b'"x0":1.0', b'"x0":null'),
    ],
    ids=["zeros", "half", "empty", "verdict", "no label", "no photo", "no box"],
)
def test_a_damaged_line_is_named_and_the_others_are_read(tmp_path, damage, caplog):
    records = [make_review("a.png"), make_review("b.png", boxes=(make_box(),)), make_review("c.png")]
    file = write_reviews(tmp_path, records)
    lines = file.read_bytes().splitlines()
    lines[1] = damage(lines[1])
    file.write_bytes(b"\n".join(lines) + b"\n")
    assert ids_of(tmp_path) == [records[0].id, records[2].id]
    assert f"{file}: line 2 is not a record and is left out" in caplog.text
    assert list(read_truths(tmp_path)) == ["a", "c"]


def test_fields_of_later_versions_are_ignored(tmp_path):
    file = write_reviews(tmp_path, [make_review()])
    file.write_text(json.dumps(json.loads(file.read_text()) | {"mood": "good"}) + "\n")
    assert len(ids_of(tmp_path)) == 1


def test_a_record_in_two_files_counts_once(tmp_path):
    record, other = make_review(), make_review()
    write_reviews(tmp_path, [record, other])
    write_reviews(tmp_path, [other, record])
    assert ids_of(tmp_path) == [record.id, other.id]


def test_a_damaged_parquet_file_is_named(tmp_path):
    write_reviews(tmp_path, [make_review()])
    fold_sessions(tmp_path)
    (file,) = (tmp_path / "reviews").glob("*.parquet")
    whole = file.read_bytes()
    for damaged in (whole[:200], b"", whole.replace(b"PAR1", b"XXXX")):
        file.write_bytes(damaged)
        with pytest.raises(StoreError, match=rf"{file.name}: is damaged .*; restore it from a backup, or move it away"):
            read_review_table(tmp_path)


def test_a_closed_file_is_named(tmp_path, file_permissions_hold):
    file = write_reviews(tmp_path, [make_review()])
    file.chmod(0)
    with file_permissions_hold(), pytest.raises(StoreError, match=rf"{file.name}: can't be read \(Permission denied\)"):
        read_review_table(tmp_path)


def test_files_of_other_programs_are_passed_over(tmp_path):
    write_reviews(tmp_path, [make_review()])
    for name in ("notes.jsonl", "part-x.parquet", "20260101T000000Z-Ann-0000.jsonl.bak", ".nfs01"):
        (tmp_path / "reviews" / name).write_text("no record\n")
    assert len(ids_of(tmp_path)) == 1


def test_folder_without_reviews(tmp_path):
    assert read_truths(tmp_path) == {}
    frame = pipeline.read_reviews(tmp_path)
    assert len(frame) == 0
    assert {"id", "label", "stands"} <= set(frame)
    with pytest.raises(ConfigError, match="no such folder; name the --out of a run"):
        pipeline.read_reviews(tmp_path / "nowhere")


def test_frame_tells_which_records_stand(tmp_path):
    first, second = make_review(), make_review(label="open")
    third = make_review("b.png")
    write_reviews(tmp_path, [first, second, third, withdraw(third)])
    frame = pipeline.read_reviews(tmp_path)
    assert frame["stands"].tolist() == [False, True, False, False]
    assert str(frame["at"].dtype) == "datetime64[us, UTC]"


def test_other_readers_at_any_moment(tmp_path):
    """While a session is open: empty, with a first record, with a box, beside others."""
    records = [make_review(), make_review("b.png", None), make_review("c.png", boxes=(make_box(),), seconds=2.5)]
    write_reviews(tmp_path, [make_review("d.png")], "Ben")
    with ReviewSession(tmp_path, "Ann") as session:
        for count in range(4):
            if count:
                session.append(records[count - 1])
            frames = [pd.read_json(file, lines=True) for file in (tmp_path / "reviews").glob("*.jsonl")]
            assert sum(map(len, frames)) == count + 1
            table = duckdb.sql(f"select id, label from read_json_auto('{tmp_path}/reviews/*.jsonl')").fetchall()
            assert len(table) == count + 1
    fold_sessions(tmp_path)
    table = duckdb.sql(f"select label, len(boxes) from '{tmp_path}/reviews/*.parquet'").fetchall()
    assert sorted(table, key=str) == [("short", 0), ("short", 0), ("short", 1), (None, 0)]


def test_truths_have_the_current_names_of_classes(tmp_path):
    file = tmp_path / "reviews" / "classes.json"
    write_reviews(tmp_path, [make_review(label="spurr", boxes=(make_box(label="spurr"),), label_before="spurr")])
    extend_classes(tmp_path, ["ok", "spurr"])
    classes = json.loads(file.read_text())
    classes[1] |= {"name": "spur", "formerly": ["spurr"]}
    file.write_text(json.dumps(classes))
    truth = read_truths(tmp_path)["a"]
    assert (truth.label, truth.label_before, truth.answers, truth.boxes[0].label) == ("spur", "spur", ("spur",), "spur")
    assert (truth.agrees_with("spurr"), truth.agrees_with("spur"), truth.agrees_with("ok")) == (True, True, False)
    assert pipeline.read_reviews(tmp_path)["label"].tolist() == ["spurr"]
