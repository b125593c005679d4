"""Real faults of the machine: full and read-only disks, mounts, damaged parts, short memory."""

import ctypes
import logging
import resource
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import pipeline
from pipeline.errors import StoreError
from pipeline.maps.passes import MapPlan
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.load import load_classifier
from pipeline.model.predictor import Predictor
from pipeline.results.read import part_files
from tests.helpers.commands import run_vitrollout
from tests.helpers.fork_server import FORK_SERVER
from tests.helpers.models import save_tiny_vit
from tests.helpers.photos import save_photos
from tests.helpers.tables import flip_a_bit

PER_RUN = ["run_id", "processed_at"]
M_ARENA_MAX, M_MMAP_THRESHOLD = -8, -3  # of malloc.h


@pytest.fixture
def photos(tmp_path):
    save_photos(tmp_path / "photos", 60, size=(160, 120))
    return tmp_path / "photos"


@pytest.fixture
def settings(tmp_path, photos, tiny_vit):
    def make(out=tmp_path / "out", **more):
        common = {"model": str(tiny_vit), "batch_size": 4, "part_rows": 8, "workers": 1, "precision": "fp32"}
        return pipeline.RunConfig(input=photos, out=out, **common | more)

    return make


def whole_table(settings, tmp_path):
    pipeline.run(settings(tmp_path / "undisturbed"))
    return pipeline.read_results(tmp_path / "undisturbed").drop(columns=PER_RUN)


def assert_nothing_half_written(out):
    assert list((out / "tmp").iterdir()) == []
    rows = pipeline.read_results(out)
    for name in rows["overlay"].dropna():
        assert (out / name).stat().st_size > 0


@pytest.mark.parametrize(("overlay_size", "full"), [(1024, "overlays"), (None, "part-")])
def test_full_disk_names_what_is_missing_and_the_next_run_goes_on(settings, mount, tmp_path, overlay_size, full):
    disk = tmp_path / "disk"
    remount = mount(disk, "472k")  # is full at an overlay, not at its small thumbnail
    config = settings(disk / "out", overlay_size=overlay_size)
    if overlay_size is None:
        (disk / "ballast").write_bytes(bytes(380_000))
    with pytest.raises(StoreError) as caught:
        pipeline.run(config)
    assert caught.value.exit_code == 1
    assert "No space left on device; everything committed stays: make room on its disk" in str(caught.value)
    assert full in str(caught.value)
    assert_nothing_half_written(config.out)
    done = len(pipeline.read_results(config.out))
    assert done < 60
    remount("size=100m")
    assert pipeline.run(config).done_before == done
    found = pipeline.read_results(config.out).drop(columns=PER_RUN)
    pipeline.run(settings(tmp_path / "undisturbed", overlay_size=overlay_size))
    expected = pipeline.read_results(tmp_path / "undisturbed").drop(columns=PER_RUN)
    pd.testing.assert_frame_equal(found, expected)


def test_full_disk_is_exit_1_with_one_line(settings, mount, tmp_path):
    mount(tmp_path / "disk", "100k")
    config = settings()
    arguments = ["run", config.input, "--out", tmp_path / "disk" / "out", "--model", config.model]
    done = run_vitrollout(*arguments, "--batch-size", 4)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_read_only_results(settings, mount, tmp_path):
    remount = mount(tmp_path / "disk", "10m")
    config = settings(tmp_path / "disk" / "out", limit=8)
    pipeline.run(config)
    remount("ro")
    with pytest.raises(StoreError, match=r"Read-only file system.*make its file system writable"):
        pipeline.run(config)
    assert len(pipeline.read_results(config.out)) == 8


def test_tmp_on_another_file_system(settings, mount):
    config = settings()
    mount(config.out / "tmp", "10m")
    with pytest.raises(StoreError, match="keep the whole results folder on one file system"):
        pipeline.run(config)
    assert part_files(config.out) == []


@pytest.mark.parametrize("damage", ["cut short", "a flipped bit"])
def test_damaged_part_is_named_and_set_aside_on_request(settings, tmp_path, damage, caplog):
    config = settings(overlay_size=None)
    pipeline.run(config)
    part = part_files(config.out)[3]
    if damage == "cut short":
        part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    else:
        flip_a_bit(part, "attention.list.element")
    with pytest.raises(StoreError, match=f"{part.name} can't be read: .*--repair sets it aside"):
        pipeline.read_results(config.out)
    summary = pipeline.run(settings(overlay_size=None, repair=True))
    assert (summary.done_before, summary.processed) == (52, 8)
    assert part.name in caplog.text
    assert [file.name for file in (config.out / "damaged").iterdir()] == [part.name]
    table = pipeline.read_results(config.out).drop(columns=PER_RUN)
    pipeline.run(settings(tmp_path / "undisturbed", overlay_size=None))
    pd.testing.assert_frame_equal(table, pipeline.read_results(tmp_path / "undisturbed").drop(columns=PER_RUN))


def predict_in_short_memory(model: Path, method: str, log: Path) -> None:
    """Predict 64 photos at once with 140 MB left, of 180 or more needed; compare with photos predicted alone."""
    libc = ctypes.CDLL(None)
    libc.mallopt(M_ARENA_MAX, 1)  # others reserve address space, which is short here
    libc.mallopt(M_MMAP_THRESHOLD, 2**17)  # fixed, so that freed tensors leave no holes behind
    logging.basicConfig(filename=log)
    classifier = load_classifier(resolve_checkpoint(str(model)), device=torch.device("cpu"), precision="fp32")
    photos = list(np.random.default_rng(0).integers(0, 256, (64, 3, 192, 192), dtype=np.uint8))
    plan = MapPlan((method,))
    alone = [Predictor(classifier, plan, 1).predict([photo]) for photo in (photos[0], photos[-1])]
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + 140_000_000,) * 2)
    output = Predictor(classifier, plan, 64).predict(photos)
    assert len(output.logits) == len(output.maps[method]) == 64
    for index, expected in zip((0, -1), alone, strict=True):
        np.testing.assert_allclose(output.logits[index], expected.logits[0], atol=1e-4)
        np.testing.assert_allclose(output.maps[method][index], expected.maps[method][0], atol=1e-4)


@pytest.mark.parametrize("method", ["rollout", "relevance"])
def test_short_memory_halves_the_batch(tmp_path, method):
    model = save_tiny_vit(tmp_path / "model", image_size=192)  # 577 tokens: 5 MB of attention a photo and layer
    process = FORK_SERVER.Process(target=predict_in_short_memory, args=(model, method, tmp_path / "log"))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert "out of memory on the device: going on with batches of 32" in (tmp_path / "log").read_text()
