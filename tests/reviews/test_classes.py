"""Classes: appended, never moved, by one process at a time."""

import json

import pytest

from pipeline.errors import DataError, FolderBusyError, StoreError
from pipeline.folder_lock import FolderLock
from pipeline.reviews import classes as classes_module
from pipeline.reviews.classes import current_names, extend_classes, read_classes, without_retired
from tests.helpers.fork_server import FORK_SERVER


def change_class(out, number, **changes):
    file = out / "reviews" / "classes.json"
    classes = json.loads(file.read_text())
    classes[number] |= changes
    file.write_text(json.dumps(classes))


def test_no_classes_before_the_first(tmp_path):
    assert read_classes(tmp_path) == ()


def test_new_names_are_appended_and_ids_never_move(tmp_path):
    first = extend_classes(tmp_path, ["short", "open", "short"])
    second = extend_classes(tmp_path, ["burr", "open", "acid"])
    assert second == read_classes(tmp_path)
    assert second[:2] == first
    assert [(each.id, each.name, each.key) for each in second] == [
        (0, "short", "1"), (1, "open", "2"), (2, "burr", "3"), (3, "acid", "4")
    ]  # fmt: skip
    assert len({each.colour for each in second}) == 4
    assert all(each.since.endswith("+00:00") for each in second)


def test_nothing_new_writes_nothing(tmp_path):
    extend_classes(tmp_path, ["short"])
    before = (tmp_path / "reviews" / "classes.json").stat()
    extend_classes(tmp_path, ["short"])
    assert (tmp_path / "reviews" / "classes.json").stat() == before


def test_keys_end_at_nine_and_colours_begin_again(tmp_path):
    classes = extend_classes(tmp_path, map(str, range(12)))
    assert [each.key for each in classes[7:]] == ["8", "9", None, None, None]
    assert classes[8].colour == classes[0].colour


def test_earlier_names_count_as_the_class(tmp_path):
    extend_classes(tmp_path, ["ok", "spurr"])
    change_class(tmp_path, 1, name="spur", formerly=["spurr", "sprr"], key="s", guide="a copper tip", retired=True)
    classes = extend_classes(tmp_path, ["spurr", "open"])
    assert [each.name for each in classes] == ["ok", "spur", "open"]
    assert current_names(classes) == {"spurr": "spur", "sprr": "spur"}
    assert [each.name for each in without_retired(classes)] == ["ok", "open"]
    assert (classes[1].key, classes[1].guide, classes[2].key) == ("s", "a copper tip", "2")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[", "can't be read"),
        ('{"short": 1}', "can't be read"),
        ('[{"id": 1, "name": "short"}]', "ids must count from 0"),
        ('[{"id": 1, "name": "a"}, {"id": 0, "name": "b"}]', "ids must count from 0"),
        ('[{"id": 0, "name": "a"}, {"id": 1, "name": "b", "formerly": ["a"]}]', "'a' occurs twice"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content, reason):
    (tmp_path / "reviews").mkdir()
    (tmp_path / "reviews" / "classes.json").write_text(content)
    for use in (read_classes, lambda out: extend_classes(out, ["new"])):
        with pytest.raises(DataError, match=f"classes.json: {reason}"):
            use(tmp_path)
    assert (tmp_path / "reviews" / "classes.json").read_text() == content


def test_a_folder_that_is_not_writable(tmp_path, file_permissions_hold):
    tmp_path.chmod(0o500)
    with file_permissions_hold(), pytest.raises(StoreError, match="give this user write access"):
        extend_classes(tmp_path, ["short"])
    tmp_path.chmod(0o700)


def test_another_writer_that_does_not_finish(tmp_path, monkeypatch):
    extend_classes(tmp_path, ["short"])
    monkeypatch.setattr(classes_module, "_LOCK_SECONDS", 0)
    with FolderLock(tmp_path / "reviews", busy=""), pytest.raises(FolderBusyError, match="are being written; try"):
        extend_classes(tmp_path, ["open"])


def add_one_by_one(out, names):
    for name in names:
        extend_classes(out, [name])


def test_two_processes_at_once(tmp_path):
    """Both add 20 names, half of them the same: each name once, each id once."""
    names = [[f"class {number}" for number in range(start, start + 20)] for start in (0, 10)]
    processes = [FORK_SERVER.Process(target=add_one_by_one, args=(tmp_path, mine)) for mine in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert {each.name for each in read_classes(tmp_path)} == {*names[0], *names[1]}
    assert len(read_classes(tmp_path)) == 30
