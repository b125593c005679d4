"""Folding ended sessions: no record lost or doubled, whoever writes, reads or kills meanwhile."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest

from pipeline.errors import StoreError
from pipeline.reviews.files import folded_files, session_files
from pipeline.reviews.fold import fold_sessions
from pipeline.reviews.read import read_review_table
from pipeline.reviews.session import ReviewSession
from tests.helpers.disks import small_disks
from tests.helpers.fork_server import FORK_SERVER
from tests.helpers.reviews import make_review, write_reviews


def ids_of(out):
    return read_review_table(out)["id"].to_pylist()


def raw_ids_of(out):
    """All ids in the files, doubled ones too."""
    return [record_id for (record_id,) in duckdb.sql(f"select id from '{out}/reviews/*.parquet'").fetchall()]


def write_sessions(out, count=3):
    records = [make_review() for _ in range(2 * count)]
    for number in range(count):
        write_reviews(out, records[2 * number : 2 * number + 2], f"person {number}")
    return [record.id for record in records]


def test_ended_sessions_become_one_file(tmp_path):
    ids = write_sessions(tmp_path)
    before = read_review_table(tmp_path)
    assert fold_sessions(tmp_path) == 3
    assert read_review_table(tmp_path).equals(before)
    assert (session_files(tmp_path), len(folded_files(tmp_path))) == ([], 1)
    assert sorted(raw_ids_of(tmp_path)) == ids


def test_nothing_to_fold(tmp_path):
    assert fold_sessions(tmp_path) == 0
    write_sessions(tmp_path)
    fold_sessions(tmp_path)
    before = folded_files(tmp_path)
    assert fold_sessions(tmp_path) == 0
    assert folded_files(tmp_path) == before


def test_files_of_many_nights_stay_one(tmp_path):
    ids = [record_id for _ in range(3) for record_id in write_sessions(tmp_path) if fold_sessions(tmp_path) >= 0]
    assert len(folded_files(tmp_path)) == 1
    assert ids_of(tmp_path) == ids


def test_a_session_in_use_is_left_alone(tmp_path):
    ended = write_sessions(tmp_path, 1)
    records = [make_review() for _ in range(3)]
    with ReviewSession(tmp_path, "Ann") as session, ReviewSession(tmp_path, "Ben") as empty:
        session.append(records[0])
        assert fold_sessions(tmp_path) == 1
        assert session_files(tmp_path) == sorted([session.file, empty.file])
        session.append(records[1])
        empty.append(records[2])
    assert ids_of(tmp_path) == ended + [record.id for record in records]
    assert fold_sessions(tmp_path) == 2
    assert ids_of(tmp_path) == ended + [record.id for record in records]


def test_an_empty_session_of_a_killed_process_goes(tmp_path):
    write_sessions(tmp_path, 1)
    (tmp_path / "reviews" / "20260101T000000Z-Ann-0000.jsonl").touch()
    assert fold_sessions(tmp_path) == 2
    assert session_files(tmp_path) == []


def test_damaged_lines_stay_where_they_are(tmp_path, caplog):
    first, second = make_review(), make_review()
    damaged = write_reviews(tmp_path, [first, make_review()])
    damaged.write_bytes(damaged.read_bytes().replace(b'"confirmed"', b'"con', 1))
    write_reviews(tmp_path, [second])
    content = damaged.read_bytes()
    assert fold_sessions(tmp_path) == 1
    assert (session_files(tmp_path), damaged.read_bytes()) == ([damaged], content)
    assert "line 1 is not a record" in caplog.text
    assert second.id in ids_of(tmp_path)


def test_a_half_line_at_the_end_is_no_damage(tmp_path):
    record = make_review()
    file = write_reviews(tmp_path, [record, make_review()])
    file.write_bytes(file.read_bytes()[:-10])
    assert fold_sessions(tmp_path) == 1
    assert ids_of(tmp_path) == [record.id]


def test_a_session_of_another_user_is_left_alone(tmp_path, file_permissions_hold, caplog):
    ids = write_sessions(tmp_path, 2)
    session_files(tmp_path)[0].chmod(0o400)
    with file_permissions_hold():
        assert fold_sessions(tmp_path) == 1
    assert "is not folded: Permission denied" in caplog.text
    assert ids_of(tmp_path) == ids


def fold_and_die(out: Path, event: str, number: int) -> None:
    """Fold, and kill this process before the n-th call of the system."""
    left = [number]

    def watch(name, arguments):
        if name == event and "reviews" in str(arguments[0]):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    fold_sessions(out)


@pytest.mark.parametrize(
    ("event", "number", "doubled"),
    [("os.rename", 1, 0), ("os.remove", 2, 6), ("os.remove", 3, 4), ("os.remove", 4, 2)],
    ids=["before placed", "before removed", "first removed", "second removed"],
)
def test_killed_while_folding(tmp_path, event, number, doubled):
    """The first os.remove is that of the temporary file, renamed by then."""
    ids = write_sessions(tmp_path)
    process = FORK_SERVER.Process(target=fold_and_die, args=(tmp_path, event, number))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    left = sum(file.read_bytes().count(b"\n") for file in session_files(tmp_path))
    assert left == (doubled or len(ids))
    assert ids_of(tmp_path) == ids
    ids += write_sessions(tmp_path, 1)
    fold_sessions(tmp_path)
    assert ids_of(tmp_path) == ids
    assert sorted(raw_ids_of(tmp_path)) == ids


def read_while_folding(out: Path, expected: list[str], stop) -> None:
    while not stop.poll():
        assert set(expected) <= set(ids_of(out))


def test_readers_miss_nothing_while_sessions_are_folded(tmp_path):
    ids = write_sessions(tmp_path, 5)
    receiver, sender = FORK_SERVER.Pipe(duplex=False)
    reader = FORK_SERVER.Process(target=read_while_folding, args=(tmp_path, ids, receiver))
    reader.start()
    for _ in range(60):
        write_sessions(tmp_path, 1)
        fold_sessions(tmp_path)
    sender.send("stop")
    reader.join()
    assert reader.exitcode == 0


def test_a_full_disk_leaves_everything(tmp_path):
    with small_disks() as mount:
        mount(tmp_path / "disk", "64k")
        ids = write_sessions(tmp_path / "disk", 2)
        ballast = tmp_path / "disk" / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:  # until the disk is full
                file.write(bytes(4096))
        with pytest.raises(StoreError, match="No space left on device"):
            fold_sessions(tmp_path / "disk")
        assert ids_of(tmp_path / "disk") == ids
        ballast.unlink()
        assert fold_sessions(tmp_path / "disk") == 2
        assert ids_of(tmp_path / "disk") == ids
