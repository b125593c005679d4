"""Checkpoints are complete or absent, also after a full disk or a kill in the middle of saving."""

import resource
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from pipeline.errors import StoreError
from pipeline.training.checkpoints import (
    has_checkpoints,
    load_newest_checkpoint,
    remove_partial_files,
    save_checkpoint,
    save_weights,
)

TENSOR = torch.arange(50_000.0)  # 200 kB


def names_in(folder):
    return sorted(file.name for file in folder.iterdir())


@contextmanager
def file_size_limit(count):
    """A limit on the bytes of files stands for a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_newest_is_loaded_and_two_are_kept(tmp_path):
    assert load_newest_checkpoint(tmp_path) is None
    for step in (8, 9, 10):  # by number: as texts, 9 comes after 10
        save_checkpoint(tmp_path, step, {"step": step, "tensors": [TENSOR + step], "texts": {"a": "b"}})
    assert names_in(tmp_path) == ["checkpoint-10.pt", "checkpoint-9.pt"]
    contents = load_newest_checkpoint(tmp_path)
    assert contents["step"] == 10
    assert contents["texts"] == {"a": "b"}
    assert torch.equal(contents["tensors"][0], TENSOR + 10)


def test_a_checkpoint_cut_off_while_being_saved_is_ignored(tmp_path):
    save_checkpoint(tmp_path, 1, {"step": 1})
    with file_size_limit(100_000), pytest.raises(StoreError, match=f"can't write {tmp_path}/checkpoint-2.pt: "):
        save_checkpoint(tmp_path, 2, {"step": 2, "tensor": TENSOR})
    assert names_in(tmp_path) == ["checkpoint-1.pt"]
    assert load_newest_checkpoint(tmp_path) == {"step": 1}


def test_partial_file_of_a_kill_is_ignored_and_removed(tmp_path):
    save_checkpoint(tmp_path, 1, {"step": 1})
    (tmp_path / ("0123456789abcdef" * 2)).write_bytes((tmp_path / "checkpoint-1.pt").read_bytes()[:100])
    assert load_newest_checkpoint(tmp_path) == {"step": 1}
    remove_partial_files(tmp_path)
    assert names_in(tmp_path) == ["checkpoint-1.pt"]


def test_weights_have_the_names_of_the_modules(tmp_path):
    model = nn.ModuleDict({"embeddings": nn.Embedding(3, 2), "classifier": nn.Linear(2, 2)})
    save_weights(model, tmp_path / "best.safetensors")
    weights = load_file(tmp_path / "best.safetensors")
    assert weights.keys() == model.state_dict().keys()
    model.load_state_dict(weights)


def test_no_room_for_weights(tmp_path):
    model = nn.Linear(200, 200)
    save_weights(model, tmp_path / "best.safetensors")
    before = (tmp_path / "best.safetensors").read_bytes()
    with file_size_limit(100_000), pytest.raises(StoreError, match=r"can't write .*best.safetensors: "):
        save_weights(nn.Linear(200, 200), tmp_path / "best.safetensors")
    assert names_in(tmp_path) == ["best.safetensors"]
    assert (tmp_path / "best.safetensors").read_bytes() == before


def test_checkpoints_of_any_version_count(tmp_path):
    assert not has_checkpoints(tmp_path)
    (tmp_path / "checkpoint-7").mkdir()  # a folder, before there was a loop of our own
    assert has_checkpoints(tmp_path)
    assert load_newest_checkpoint(tmp_path) is None
