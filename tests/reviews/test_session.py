"""Writing reviews: what was acknowledged is there, whatever kills the process or fills the disk."""

import random
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.errors import StoreError
from pipeline.reviews import session as session_module
from pipeline.reviews.files import session_files
from pipeline.reviews.fold import fold_sessions
from pipeline.reviews.read import read_review_table
from pipeline.reviews.session import ReviewSession
from tests.helpers.disks import small_disks
from tests.helpers.fork_server import FORK_SERVER
from tests.helpers.reviews import make_box, make_review

PAGE = 4096  # bytes; a tmpfs is full a page at a time


def ids_of(out):
    return read_review_table(out)["id"].to_pylist()


def test_a_record_is_there_once_it_is_acknowledged(tmp_path):
    with ReviewSession(tmp_path, "Ann") as session:
        for number in range(3):
            record = make_review(session=session.name)
            assert session.append(record)
            assert ids_of(tmp_path)[number] == record.id
        assert session.file == tmp_path / "reviews" / f"{session.name}.jsonl"


def test_a_record_sent_again_is_not_written_again(tmp_path):
    record, other = make_review(), make_review()
    with ReviewSession(tmp_path, "Ann") as session:
        assert [session.append(record) for _ in range(2)] == [True, False]
    with ReviewSession(tmp_path, "Ann", ids_of(tmp_path)) as session:  # after a restart of the server
        assert [session.append(record), session.append(other)] == [False, True]
    assert ids_of(tmp_path) == [record.id, other.id]


def test_sessions_have_files_of_their_own_and_empty_ones_leave_none(tmp_path):
    with ReviewSession(tmp_path, "Ann") as one, ReviewSession(tmp_path, "Ann") as two:
        assert one.file != two.file
        two.append(make_review())
    assert session_files(tmp_path) == [two.file]


@pytest.mark.parametrize("who", ["Ann B.", "../../etc", "", "Łukasz", "x" * 300, "a\nb\0c"])
def test_any_name_of_a_person_makes_a_file(tmp_path, who):
    with ReviewSession(tmp_path, who) as session:
        session.append(make_review(who=who))
    assert session_files(tmp_path) == [session.file]
    assert session.file.parent == tmp_path / "reviews"
    assert read_review_table(tmp_path)["who"].to_pylist() == [who]


def test_several_threads(tmp_path):
    records = [make_review(note="x" * 5000) for _ in range(100)]
    with ReviewSession(tmp_path, "Ann") as session, ThreadPoolExecutor(8) as threads:
        assert all(threads.map(session.append, records))
    assert sorted(ids_of(tmp_path)) == [record.id for record in records]


def test_a_record_without_a_line_changes_nothing(tmp_path):
    with ReviewSession(tmp_path, "Ann") as session:
        with pytest.raises(ValueError, match="surrogates not allowed"):
            session.append(make_review(note="\ud800"))
        assert session.append(make_review())
    assert len(ids_of(tmp_path)) == 1


def test_a_folder_that_is_not_writable(tmp_path, file_permissions_hold):
    tmp_path.chmod(0o500)
    with file_permissions_hold(), pytest.raises(StoreError, match=r"reviews: Permission denied.*give this user write"):
        ReviewSession(tmp_path, "Ann")
    tmp_path.chmod(0o700)


def test_a_session_folded_before_it_is_locked_takes_another_file(tmp_path, monkeypatch):
    lock = session_module.lock_session
    removed = []

    def lock_too_late(descriptor, **how):
        if not removed:
            (file,) = session_files(tmp_path)
            file.unlink()
            removed.append(file)
        return lock(descriptor, **how)

    monkeypatch.setattr(session_module, "lock_session", lock_too_late)
    with ReviewSession(tmp_path, "Ann") as session:
        session.append(make_review())
    assert removed
    assert session_files(tmp_path) == [session.file]


def test_a_removed_file_is_an_error_and_no_lost_record(tmp_path):
    with ReviewSession(tmp_path, "Ann") as session:
        session.append(make_review())
        session.file.unlink()
        with pytest.raises(StoreError, match="No such file"):
            session.append(make_review())


# --- full disks


def fill_up_to_a_limit(out: Path) -> None:
    """Append beyond the largest file size, between and inside lines; then with more room."""
    with ReviewSession(out, "Ann") as session:
        session.append(make_review())
        for room in (0, 1, 100):
            before = session.file.read_bytes()
            limit = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, limit[1]))
            record = make_review()
            for _ in range(2):
                with pytest.raises(StoreError, match=r"can't write .*jsonl: File too large"):
                    session.append(record)
                assert session.file.read_bytes() == before
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            assert session.append(record)  # the same one, sent once more


def test_a_failed_write_leaves_no_half_line(tmp_path):
    process = FORK_SERVER.Process(target=fill_up_to_a_limit, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert len(ids_of(tmp_path)) == 4


def append_until_full(session):
    """Append records; return the ids of those acknowledged, the first one refused, and the reason."""
    kept = []
    while True:
        record = make_review(note="x" * 300)
        try:
            session.append(record)
        except StoreError as error:
            return kept, record, str(error)
        kept.append(record.id)


def test_a_full_disk_and_room_again(tmp_path):
    with small_disks() as mount:
        mount(tmp_path / "disk", "64k")
        with ReviewSession(tmp_path / "disk", "Ann") as session:
            (tmp_path / "disk" / "ballast").write_bytes(bytes(12 * PAGE))
            kept, record, reason = append_until_full(session)
            assert kept
            assert "No space left on device; everything committed stays: make room on its disk" in reason
            assert session.file.read_bytes().endswith(b"\n")
            assert ids_of(tmp_path / "disk") == kept
            (tmp_path / "disk" / "ballast").unlink()
            assert session.append(record)
            assert ids_of(tmp_path / "disk") == [*kept, record.id]


# --- kills


def review_without_end(out: Path, first: int, acknowledged) -> None:
    """Append records of all sizes, and report the id of each one acknowledged."""
    with ReviewSession(out, "Ann") as session:
        for number in range(first, first + 100_000):
            boxes = tuple(make_box(x1=2 + index) for index in range(number % 50))
            record = make_review(f"{number}.png", id=f"{number:032x}", boxes=boxes, note="x" * (number % 7 * 1000))
            assert session.append(record)
            acknowledged.send_bytes(record.id.encode())


def review_until_killed(out: Path, first: int, records: int) -> list[str]:
    """Kill a reviewing process after some records, wherever it is by then; return the ids acknowledged."""
    receiver, sender = FORK_SERVER.Pipe(duplex=False)
    process = FORK_SERVER.Process(target=review_without_end, args=(out, first, sender))
    process.start()
    sender.close()
    acknowledged = [receiver.recv_bytes() for _ in range(records)]
    process.kill()
    try:
        while True:
            acknowledged.append(receiver.recv_bytes())
    except (EOFError, OSError):  # the kill may have come amid a message
        process.join()
        return [record_id.decode() for record_id in acknowledged if len(record_id) == 32]


def kill_again_and_again(out: Path, kills: int, chance: random.Random) -> None:
    expected: set[str] = set()
    for kill in range(kills):
        expected.update(review_until_killed(out, kill * 100_000, chance.randrange(40)))
        if chance.random() < 0.2:
            fold_sessions(out)
        found = ids_of(out)
        assert len(set(found)) == len(found)
        assert expected <= set(found)
        assert len(found) <= len(expected) + kill + 1  # one each written, but not acknowledged before the kill


def test_killed_while_reviewing(tmp_path, caplog):
    kill_again_and_again(tmp_path, 12, random.Random(0))
    assert caplog.text == ""


@pytest.mark.soak
def test_killed_while_reviewing_for_long(tmp_path, caplog):
    kill_again_and_again(tmp_path, 500, random.Random(1))
    assert caplog.text == ""
