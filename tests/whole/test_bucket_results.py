"""Runs with their results in a bucket: killed, started twice, read by other programs."""

import json
import os
import signal
from collections import Counter

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pytest
from pyarrow.fs import S3FileSystem

import pipeline
from pipeline.errors import ConfigError, StoreError
from pipeline.planning.plan_schema import PLAN_SCHEMA
from pipeline.report.status import read_status
from pipeline.results.compact import compact
from pipeline.results.folder import ResultsFolder
from pipeline.results.names import next_run_id, part_files, record_files, run_id_of_part
from pipeline.results.open_run import read_open_runs
from pipeline.results.parts import read_part
from pipeline.storage.files import read_bytes
from pipeline.storage.location import ObjectUrl
from pipeline.storage.storage import open_storage
from tests.helpers.commands import run_vitrollout, start_vitrollout
from tests.helpers.models import save_tiny_vit
from tests.helpers.object_server import ACCESS_KEY, SECRET_KEY, ForgetfulStore, all_names, run_server
from tests.helpers.photos import save_photos
from tests.helpers.tables import make_record

PHOTOS = 24
PER_RUN = ["run_id", "processed_at"]


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Photos, a model, and the table of a run into a folder."""
    folder = tmp_path_factory.mktemp("material")
    save_photos(folder / "photos", PHOTOS - 1)
    (folder / "photos" / "photo-0010-broken.png").write_bytes(b"no image")
    save_tiny_vit(folder / "model")
    pipeline.run(settings_of(folder, folder / "plain"))
    return folder


def settings_of(material, out, **more):
    settings = {"model": str(material / "model"), "precision": "fp32", "batch_size": 2, "part_rows": 4, "workers": 1}
    return pipeline.RunConfig(**{"input": material / "photos", "out": out, "overlay_size": None} | settings | more)


@pytest.fixture
def out(object_server):
    return object_server.make_bucket() / "some" / "results"


@pytest.fixture
def start(material, out, object_server):
    """Starts the command into the bucket, in a process of its own."""

    def start(*more, function=start_vitrollout):
        return function(
            "run", material / "photos", "--out", out, "--model", material / "model", "--device", "cpu", "--workers", 1,
            "--precision", "fp32", "--batch-size", 2, "--part-rows", 4, "--overlay-size", "none", *more,
            environment=object_server.environment(),
        )  # fmt: skip

    return start


def assert_whole(material, out, **counts):
    """Check that a table is that of the run into a folder, each photo once."""
    frame, plain = pipeline.read_results(str(out)), pipeline.read_results(material / "plain")
    pd.testing.assert_frame_equal(frame.drop(columns=PER_RUN), plain.drop(columns=PER_RUN))
    rows = [row for part in part_files(out) for row in read_part(part, ["path", "run_id"]).to_pylist()]
    assert len({tuple(row.values()) for row in rows}) == len(rows)
    assert read_open_runs(out) == []


def test_table_of_a_bucket_is_that_of_a_folder(material, out):
    summary = pipeline.run(settings_of(material, out))
    assert (summary.processed, summary.failed, summary.out) == (PHOTOS, 1, str(out))
    assert_whole(material, out)
    names = all_names(out)
    folders = Counter(name.partition("/")[0] for name in names)
    assert folders.pop("report") > 2
    assert folders == {"report.html": 1, "runs": 2, "table": PHOTOS // 4}

    again = pipeline.run(settings_of(material, out))
    assert (again.processed, again.done_before) == (0, PHOTOS)
    status = read_status(str(out))
    assert (status.photos, status.failed, status.parts, len(status.runs)) == (PHOTOS, 1, PHOTOS // 4, 2)


def test_overlays_are_objects_too(material, out):
    pipeline.run(settings_of(material, out, overlay_size=64, limit=2))
    names = set(pipeline.read_results(out)["overlay"])
    assert names <= set(all_names(out))


def test_overlays_left_out_are_drawn_later(material, out):
    """As the run would have drawn them: the bytes of the pictures in the folder are the same."""
    pipeline.run(settings_of(material, material / "drawn", overlay_size=64))
    pipeline.run(settings_of(material, out, overlay_size=64, overlays="sample:3", report=False))
    assert len([name for name in all_names(out) if name.startswith("overlays/")]) == 3
    drawn = pipeline.draw_overlays(out=str(out), limit=5)
    assert (drawn.chosen, drawn.drawn, drawn.already_drawn) == (5, 5, 3)
    assert pipeline.draw_overlays(out=str(out)).drawn == PHOTOS - 1 - 8
    for name in pipeline.read_results(out)["overlay"].dropna():
        assert read_bytes(out / name) == (material / "drawn" / name).read_bytes()
    assert compact(out).rows == PHOTOS


def test_changed_and_touched_photos(material, out, tmp_path):
    names = save_photos(tmp_path / "photos", 6)
    config = settings_of(material, out, input=tmp_path / "photos")
    pipeline.run(config)
    save_photos(tmp_path / "photos", 1, seed=7)
    os.utime(tmp_path / "photos" / names[5], ns=(0, 1_600_000_000_000_000_123))
    summary = pipeline.run(config)
    assert (summary.changed, summary.processed, summary.done_before) == (1, 1, 5)
    assert len(pipeline.read_results(out)) == 6
    assert pipeline.run(config).processed == 0


def test_other_input_is_refused(material, out, tmp_path):
    pipeline.run(settings_of(material, out, limit=1))
    save_photos(tmp_path / "photos", 1)
    with pytest.raises(ConfigError, match="holds results of"):
        pipeline.run(settings_of(material, out, input=tmp_path / "photos"))


def test_killed_run_is_continued(material, out, start):
    process = start()
    while len(part_files(out)) < 2:
        assert process.returncode is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = part_files(out)
    assert [run.missing() for run in read_open_runs(out)] != [[]]
    finished = start(function=run_vitrollout)
    assert finished.returncode == 3, finished.stderr  # one photo is broken
    assert len(kept) < PHOTOS // 4
    assert set(kept) < set(part_files(out))
    assert json.loads(finished.stdout)["processed"] == PHOTOS
    assert_whole(material, out)


def test_two_runs_at_once_share_the_work(material, out, start):
    processes = [start(), start()]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [3, 3], errors
    assert_whole(material, out)
    assert len({run_id_of_part(part) for part in part_files(out)}) == len(record_files(out)) == 1


def test_run_with_other_settings_closes_an_open_one(material, out, start):
    process = start()
    while not part_files(out):
        assert process.returncode is None
    process.send_signal(signal.SIGSTOP)
    open_run = read_open_runs(out)[0]
    pipeline.run(settings_of(material, out, discard_ratio=0.5))
    process.send_signal(signal.SIGCONT)  # a late worker: its parts are taken, empty
    process.communicate()
    assert open_run.missing() == []
    frame = pipeline.read_results(out, ["path", "run_id"])
    assert len(frame) == PHOTOS
    assert set(frame["run_id"]) != {open_run.run_id}


def test_compaction(material, out):
    for limit in (3, 3, 100):
        pipeline.run(settings_of(material, out, limit=limit, part_rows=3))
    before = pipeline.read_results(out)
    compaction = compact(str(out))
    assert (compaction.rows, compaction.pruned) == (PHOTOS, 0)
    pd.testing.assert_frame_equal(pipeline.read_results(out), before)
    with pytest.raises(ConfigError, match="compact without --prune"):
        compact(out, prune=True)


def test_damaged_part_is_set_aside(material, out):
    pipeline.run(settings_of(material, out))
    damaged = part_files(out)[1]
    open_storage(out).put(f"table/{damaged.name}", b"PAR1 no longer")
    with pytest.raises(StoreError, match="--repair sets it aside"):
        pipeline.run(settings_of(material, out))
    assert pipeline.run(settings_of(material, out, repair=True)).processed == 4
    assert f"damaged/{damaged.name}" in all_names(out)
    assert_whole(material, out)


def test_other_programs_read_the_parts(material, out, object_server):
    pipeline.run(settings_of(material, out))
    host = object_server.endpoint.removeprefix("http://")
    store = S3FileSystem(access_key=ACCESS_KEY, secret_key=SECRET_KEY, endpoint_override=host, scheme="http")
    table = f"{out.bucket}/{out.key}/table"
    frame = pd.read_parquet(table, filesystem=store)
    assert sorted(frame["path"]) == pipeline.read_results(out)["path"].tolist()
    dataset = pyarrow.dataset.dataset(table, filesystem=store)
    assert pl.scan_pyarrow_dataset(dataset).select(pl.len()).collect().item() == PHOTOS
    options = {"aws_endpoint_url": object_server.endpoint, "aws_allow_http": "true"}
    assert pl.read_parquet(f"{out}/table/*.parquet", storage_options=options).height == PHOTOS
    counted = duckdb.connect().execute("SELECT count(*) FROM dataset WHERE status = 'failed'").fetchone()
    assert counted == (1,)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["run", "{photos}", "--out", "s3://no-such-bucket/results"], "there is no such bucket"),
        (["status", "s3://no-such-bucket/results"], "there is no such bucket"),
        (["status", "{bucket}/nothing"], "is not a results folder: it has no table/"),
        (["report", "{bucket}/nothing"], "is not a results folder: it has no table/"),
        (["review", "{bucket}/nothing"], "needs a folder of this machine"),
        (["export", "{bucket}/nothing", "--out", "x", "--format", "coco"], "needs a folder of this machine"),
        (["finetune", "{bucket}/data", "--out", "x"], "needs a folder of this machine"),
        (["evaluate", "{bucket}/data"], "needs a folder of this machine"),
        (["run", "{photos}", "--out", "s3://me:secret@bucket/x"], "credentials don't belong in a URL"),
    ],
)
def test_faults_are_one_line_before_any_work(material, out, object_server, arguments, reason):
    names = {"photos": str(material / "photos"), "bucket": str(out.parent.parent)}
    command = [argument.format(**names) for argument in arguments]
    finished = run_vitrollout(*command, environment=object_server.environment())
    assert finished.returncode == 2, finished.stderr
    message = finished.stderr.strip().splitlines()[-1]
    assert reason in message
    assert "secret" not in finished.stderr
    assert "Traceback" not in finished.stderr


def test_store_without_conditions_is_refused(material, monkeypatch, object_server):
    with run_server(ForgetfulStore) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        with pytest.raises(ConfigError, match="ignores conditional writes"):
            pipeline.run(settings_of(material, ObjectUrl("s3", "forgetful", "out")))


def test_of_two_runs_planned_at_once_one_is_opened(material, out):
    """Both saw the same newest run, and planned the same photos; whatever their ids, one is the next."""
    with ResultsFolder(out, "photos") as early, ResultsFolder(out, "photos") as late:
        assert early.run_id <= late.run_id
        late.run_id = next_run_id([early.run_id])
        plan = pa.Table.from_pylist([{"path": "a.png"}], PLAN_SCHEMA)
        draft = make_record(material / "photos", engine="processes")
        opened = late.open_run(draft, plan, rows=1)
        assert opened is not None
        assert early.open_run(draft, plan, rows=1) is None
        assert early.open_run(draft, plan.slice(1), rows=1) is None, "nor without photos"
        assert [run.run_id for run in read_open_runs(out)] == [late.run_id]
        late.write_record(opened.record)
        opened.close()
        assert early.open_run(draft, plan, rows=1) is None, "it has not seen the other's rows"
        early.look_again()
        assert early.open_run(draft, plan, rows=1) is not None


def test_a_run_that_has_not_claimed_its_turn_is_not_open(material, out):
    with ResultsFolder(out, "photos") as results:
        plan = pa.Table.from_pylist([{"path": "a.png"}], PLAN_SCHEMA)
        opened = results.open_run(make_record(material / "photos", engine="processes"), plan, rows=1)
        open_storage(out).delete(["runs/first.next"])
        assert read_open_runs(out) == []
        open_storage(out).put("runs/first.next", opened.run_id.encode())
        assert [run.run_id for run in read_open_runs(out)] == [opened.run_id]
