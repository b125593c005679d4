"""A finished folder takes its name in one step."""

import fcntl
import os

import pytest

from pipeline.errors import StoreError
from pipeline.export import swap_folder
from pipeline.export.swap_folder import folder_in_the_making, put_in_place


def make_data(folder, text):
    folder.mkdir()
    (folder / "file").write_text(text)
    return folder


def test_a_new_folder_appears_complete(tmp_path):
    final = tmp_path / "deep/data"
    with folder_in_the_making(final) as making:
        put_in_place(make_data(making / "data", "new"), final)
    assert (final / "file").read_text() == "new"
    assert os.listdir(final.parent) == ["data"]


@pytest.mark.parametrize("can_exchange", [True, False])
def test_an_old_folder_is_replaced_whole(tmp_path, monkeypatch, can_exchange):
    if not can_exchange:  # as on a disk without it
        monkeypatch.setattr(swap_folder, "_exchange", lambda first, second: False)
    final = make_data(tmp_path / "data", "old")
    (final / "more").touch()
    with folder_in_the_making(final) as making:
        put_in_place(make_data(making / "data", "new"), final)
    assert {file.name: file.read_text() for file in final.iterdir()} == {"file": "new"}
    assert os.listdir(tmp_path) == ["data"]


def test_the_exchange_is_one_step_here(tmp_path):
    first, second = make_data(tmp_path / "first", "1"), make_data(tmp_path / "second", "2")
    assert swap_folder._exchange(first, second)
    assert (second / "file").read_text() == "1"


def test_after_a_failure_nothing_is_left(tmp_path):
    with pytest.raises(FileExistsError), folder_in_the_making(tmp_path / "data") as making:
        make_data(make_data(making / "data", "half"), "again")
    assert os.listdir(tmp_path) == []


def test_what_a_kill_left_is_removed_but_not_the_work_of_others(tmp_path):
    dead, alive, other = (tmp_path / f".data.export-{name}" for name in ("dead", "alive", "other"))
    other = tmp_path / ".other.export-dead"
    for folder in (dead, alive, other):
        make_data(folder, "half")
    descriptor = os.open(alive, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with folder_in_the_making(tmp_path / "data"):
        pass
    os.close(descriptor)
    assert sorted(os.listdir(tmp_path)) == [".data.export-alive", ".other.export-dead"]


def test_a_folder_impossible_to_write(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="can't write"), folder_in_the_making(tmp_path / "file/data"):
        pass
