"""Runs as processes: killed at random moments, read while they write, measured."""

import os
import random
import resource
import time

import duckdb
import pandas as pd
import polars as pl
import pytest
from pyarrow.dataset import dataset

import pipeline
from pipeline.results.read import part_files, read_part
from tests.helpers.fork_server import FORK_SERVER, start_fork_server
from tests.helpers.models import save_tiny_vit
from tests.helpers.photos import save_photos

KILLS = 25
PER_RUN = ["run_id", "processed_at"]


def run_quietly(input_, out, model):
    pipeline.run(pipeline.RunConfig(input=input_, out=out, model=model, batch_size=4, part_rows=8, workers=1))


@pytest.fixture(scope="module")
def server():
    """The fork server with its imports done, so that a run takes its own time only."""
    start_fork_server()
    return FORK_SERVER


def committed_paths(out):
    """Return the path of every row in every part; fails where a file in table/ can't be read."""
    assert all(part.suffix == ".parquet" for part in (out / "table").glob("*"))
    return [path for part in part_files(out) for path in read_part(part, ["path"])["path"].to_pylist()]


def table_of(out):
    return pipeline.read_results(out).drop(columns=PER_RUN)


def test_kill_at_random_moments_loses_nothing(tmp_path, server):
    photos, model = tmp_path / "photos", str(save_tiny_vit(tmp_path / "model"))
    save_photos(photos, 90)
    (photos / "photo-0030-broken.png").write_bytes(b"no image")
    started = time.monotonic()
    whole = server.Process(target=run_quietly, args=(photos, tmp_path / "whole", model))
    whole.start()
    whole.join()
    duration = time.monotonic() - started
    expected = table_of(tmp_path / "whole")
    assert len(expected) == 91

    moments = random.Random(20261123)
    kills = interrupted_folders = 0
    while kills < KILLS:
        out = tmp_path / f"killed-{interrupted_folders}"
        interrupted_folders += 1
        survivors: list[str] = []
        while True:
            run = server.Process(target=run_quietly, args=(photos, out, model))
            run.start()
            run.join(timeout=moments.uniform(0, 1.1 * duration) if kills < KILLS else None)
            finished = run.exitcode is not None
            if not finished:
                run.kill()
                run.join()
                kills += 1
            paths = committed_paths(out)
            assert len(paths) == len(set(paths)), "a row was committed twice"
            assert set(survivors) <= set(paths), "a committed row was lost"
            for path in paths:
                overlay = out / "overlays" / f"{path}.png"
                assert overlay.exists() or path.endswith("broken.png"), "a row names an overlay that is not there"
            survivors = paths
            if finished:
                assert run.exitcode == 0
                break
        pd.testing.assert_frame_equal(table_of(out), expected)
        assert not list((out / "tmp").iterdir())


def test_table_reads_at_any_moment_of_a_run(tmp_path, server):
    photos, out = tmp_path / "photos", tmp_path / "out"
    save_photos(photos, 120)
    run = server.Process(target=run_quietly, args=(photos, out, str(save_tiny_vit(tmp_path / "model"))))
    run.start()
    seen = set()
    while run.exitcode is None:
        if part_files(out):
            pattern = f"{out}/table/*.parquet"
            counts = [
                len(pd.read_parquet(out / "table")),
                dataset(out / "table").count_rows(),
                duckdb.sql(f"select count(*) from '{pattern}' where status = 'ok'").fetchall()[0][0],
                pl.read_parquet(pattern).height,
                len(pipeline.read_results(out)),
            ]
            assert counts == sorted(counts), "later reads see at least what earlier ones saw"
            seen.add(counts[0])
        run.join(timeout=0.01)
    assert run.exitcode == 0
    assert len(seen) > 1, "the run was over before it was read"
    assert len(pipeline.read_results(out)) == 120


def peak_memory(input_, out, model, pipe):
    """Process the photos, then send the peak memory of this process and of its largest worker, in kilobytes."""
    run_quietly(input_, out, model)
    pipe.send([resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)])


def test_memory_does_not_grow_with_the_number_of_photos(tmp_path, server):
    model = str(save_tiny_vit(tmp_path / "model"))
    names = save_photos(tmp_path / "photos-500", 500)
    for copy in range(10):
        (tmp_path / "photos-5000" / str(copy)).mkdir(parents=True)
        for name in names:
            os.link(tmp_path / "photos-500" / name, tmp_path / "photos-5000" / str(copy) / name)
    peaks = {}
    for count in (500, 5000):
        photos = tmp_path / f"photos-{count}"
        receiver, sender = server.Pipe(duplex=False)
        run = server.Process(target=peak_memory, args=(photos, tmp_path / f"out-{count}", model, sender))
        run.start()
        sender.close()  # otherwise `recv` waits forever for a run that fails
        peaks[count] = receiver.recv()
        run.join()
    for few, many in zip(peaks[500], peaks[5000], strict=True):
        assert many <= 1.1 * few, peaks
