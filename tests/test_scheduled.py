"""Plan, work and finish as a scheduler calls them: in any order, twice, with jobs missing."""

import json

import pandas as pd
import pytest

import pipeline
from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from pipeline.results.open_run import read_open_runs
from pipeline.results.read import read_results
from pipeline.scheduled import WorkDone, finish_open_runs, plan_shards, work_on_shards
from tests.helpers.commands import run_vitrollout
from tests.helpers.models import save_tiny_vit
from tests.helpers.photos import save_photos


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Photos, one of them broken, and a model."""
    folder = tmp_path_factory.mktemp("material")
    save_photos(folder / "photos", 9)
    (folder / "photos" / "broken.png").write_bytes(b"no image")
    save_tiny_vit(folder / "model")
    return folder


@pytest.fixture
def config(material, tmp_path):
    return RunConfig(
        input=material / "photos", out=tmp_path / "out", model=str(material / "model"), device="cpu", precision="fp32",
        part_rows=4, report=False, overlays="none", workers=1,
    )  # fmt: skip


def test_jobs_make_the_table_of_a_plain_run(config, tmp_path):
    planned = plan_shards(config)
    assert (planned.shards, planned.shards_left, planned.photos_left) == (3, 3, 10)
    first = work_on_shards(config.out, 1, 2, {})
    assert (first.shards, first.ok + first.failed, first.shards_left) == (2, 6, 0)
    with pytest.raises(pipeline.VitrolloutError, match="1 of 3 shards have no part yet; run work again, then finish"):
        finish_open_runs(config.out)
    again = plan_shards(config)  # the same run, not a new one
    assert (again.run_id, again.shards_left) == (planned.run_id, 1)
    work_on_shards(config.out, 2, 2, {"devices": "1"})
    assert work_on_shards(config.out, 2, 2, {}) == WorkDone(planned.run_id)
    summary = finish_open_runs(config.out)
    assert (summary.processed, summary.ok, summary.failed, summary.exit_code) == (10, 9, 1, 3)
    plain = config.model_copy(update={"out": tmp_path / "plain"})
    pipeline.run(plain)
    found, wanted = (read_results(out).drop(columns=["run_id", "processed_at"]) for out in (config.out, plain.out))
    pd.testing.assert_frame_equal(found, wanted, rtol=1e-5, atol=1e-6, check_categorical=False)
    assert finish_open_runs(config.out) == summary
    assert work_on_shards(config.out, 1, 2, {}) == WorkDone(None)
    assert plan_shards(config).shards == 0  # and nothing is left to do


def test_jobs_work_into_a_bucket(config, object_server):
    out = object_server.make_bucket() / "results"
    planned = plan_shards(config.model_copy(update={"out": out}))
    assert sum(work_on_shards(out, turn, 2, {}).shards for turn in (1, 2)) == planned.shards == 3
    assert finish_open_runs(out).processed == 10
    assert len(read_results(out)) == 10


def test_a_stopped_job_leaves_its_shards(config):
    plan_shards(config)
    done = work_on_shards(config.out, 1, 1, {}, stop=lambda: True)
    assert (done.shards, done.shards_left) == (0, 3)


def test_a_plan_with_other_settings_closes_the_old_one(config):
    old = plan_shards(config)
    new = plan_shards(config.model_copy(update={"limit": 5}))
    assert [run.run_id for run in read_open_runs(config.out)] == [new.run_id]
    assert (new.run_id != old.run_id, new.photos_left) == (True, 5)


def test_a_plan_for_a_device_of_other_machines_needs_its_precision(config):
    auto = config.model_copy(update={"device": "cuda", "precision": "auto"})
    with pytest.raises(ConfigError, match=r"^precision = auto: device = cuda: not on .*give the precision, such as"):
        plan_shards(auto)
    plan_shards(auto.model_copy(update={"precision": "bf16"}))
    with pytest.raises(ConfigError, match="device = cuda: not on this machine"):
        work_on_shards(config.out, 1, 1, {})


def test_ray_has_no_plan_of_its_own(config):
    with pytest.raises(ConfigError, match="engine = ray: Ray needs no plan of its own; use vitrollout run"):
        plan_shards(config.model_copy(update={"engine": "ray"}))


def test_the_commands(config, material, tmp_path):
    options = ["--out", config.out, "--model", material / "model", "--precision", "fp32", "--part-rows", 4]
    planned = run_vitrollout("plan", material / "photos", *options, "--no-report", "--overlays", "none")
    assert json.loads(planned.stdout)["shards"] == 3, planned.stderr
    unfinished = run_vitrollout("finish", config.out)
    assert (unfinished.returncode, unfinished.stdout) == (1, "")
    assert unfinished.stderr.endswith("3 of 3 shards have no part yet; run work again, then finish\n")
    wrong = run_vitrollout("work", config.out, "--shard", "4/3")
    assert (wrong.returncode, wrong.stderr) == (
        2, "vitrollout: shard = 4/3: must be I/N with I from 1 to N, such as 3/16\n",
    )  # fmt: skip
    worked = run_vitrollout("work", config.out, "--device", "cpu", "--workers", 1)
    assert (worked.returncode, json.loads(worked.stdout)["shards"]) == (0, 3), worked.stderr
    finished = run_vitrollout("finish", config.out)
    assert (finished.returncode, json.loads(finished.stdout)["failed"]) == (3, 1)
    assert run_vitrollout("finish", tmp_path / "nowhere").returncode == 2


def test_work_in_a_folder_without_runs_is_refused(tmp_path):
    """A mistyped folder would look like work done."""
    with pytest.raises(ConfigError, match="holds no run; plan one first"):
        work_on_shards(tmp_path / "typo", 1, 2, {})
