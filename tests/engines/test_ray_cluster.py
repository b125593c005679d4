"""Shards on a Ray cluster of three nodes: whatever is killed, each photo gets one row."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

import pipeline
from pipeline.config import RunConfig
from pipeline.engines.job import Job
from pipeline.engines.ray_cluster import drive
from pipeline.engines.ray_nodes import check_nodes, connect
from pipeline.errors import ConfigError, StoreError, VitrolloutError
from pipeline.results.names import part_files
from pipeline.results.open_run import read_open_runs
from pipeline.results.read import read_results
from tests.helpers.device_runners import Accidents, start_simulated
from tests.helpers.models import save_tiny_vit
from tests.helpers.photos import save_photos

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]  # Ray's own warnings
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster():
    """A head and two nodes, with a core each."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    os.environ["PYTHONPATH"] = str(ROOT)  # for the workers of all nodes
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    yield cluster
    import ray

    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def config(cluster, tmp_path, open_run):
    return RunConfig(
        input=tmp_path / "photos", out=tmp_path / "out", engine="ray", ray_address=cluster.address, precision="fp32"
    )


@pytest.fixture
def start(tmp_path, open_run, config):
    """Works on the shards of the run left to do; returns what was done."""

    def start(on_done=lambda done: None, stop=lambda: False, **accidents):
        done = []

        def count(shard):
            done.append(shard)
            on_done(shard)

        devices = connect(config)
        runner = partial(start_simulated, open_run, Accidents(tmp_path, **accidents))
        drive(runner, open_run.missing(), devices, count, stop)
        return done

    return start


def assert_one_row_a_photo(tmp_path, failed=()):
    rows = read_results(tmp_path / "out")
    assert rows["path"].tolist() == [f"{number:02}.png" for number in range(20)]
    assert rows.loc[rows["status"] == "failed", "path"].tolist() == list(failed)
    return rows


def device_processes(tmp_path):
    """Return the ids of device processes that have committed a part, the newest first."""
    lines = (tmp_path / "workers").read_text().splitlines()
    return [int(line.split()[1]) for line in reversed(lines)]


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def parent_of(pid):
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except FileNotFoundError:
        return None


def kill_something(cluster, tmp_path, kind):
    """Kill the process of a device, its actor, or its node's raylet, with all workers of it or alone."""
    process = device_processes(tmp_path)[0]
    actor = parent_of(process)
    if kind == "process":
        kill(process)
    elif kind == "actor" and actor is not None and actor > 1:
        kill(actor)
    elif kind in ("raylet", "node"):
        lose_node(cluster, parent_of(actor), with_workers=kind == "node")


def lose_node(cluster, raylet=None, *, with_workers=False):
    """Kill this raylet, or another one if it is the head's or the coordinator's; another node comes instead."""
    own = own_raylet_socket()
    nodes = [node for node in cluster.worker_nodes if node.raylet_socket_name != own]
    raylets = {node.all_processes["raylet"][0].process.pid: node for node in nodes}
    raylet = raylet if raylet in raylets else next(iter(raylets))
    workers = [int(folder.name) for folder in Path("/proc").glob("[0-9]*") if parent_of(folder.name) == raylet]
    for pid in [raylet, *(workers if with_workers else [])]:
        kill(pid)
    cluster.remove_node(raylets[raylet], allow_graceful=False)
    cluster.add_node(num_cpus=1)


def own_raylet_socket():
    """Return the socket of the node that this process is connected to, if it is."""
    import ray

    if not ray.is_initialized():
        return None
    node = ray.get_runtime_context().get_node_id()
    return next(it["RayletSocketName"] for it in ray.nodes() if it["NodeID"] == node)


def test_nodes_share_the_shards(tmp_path, start, open_run):
    done = start()
    assert Counter(shard.shard for shard in done) == Counter(range(5))
    assert open_run.missing() == []
    assert_one_row_a_photo(tmp_path)


@pytest.mark.parametrize("seed", range(20))
def test_kills_at_random_moments_lose_nothing(cluster, tmp_path, start, seed):
    moments = random.Random(seed)
    moment, kind = moments.randrange(1, 5), ("process", "actor", "raylet", "node")[seed % 4]
    counted = []

    def kill_at_the_moment(shard):
        counted.append(shard)
        if len(counted) == moment:
            kill_something(cluster, tmp_path, kind)

    done = start(kill_at_the_moment)
    assert Counter(shard.shard for shard in done) == Counter(range(5))
    assert_one_row_a_photo(tmp_path)


def test_photos_that_end_their_process_become_failed_rows(tmp_path, start):
    start(killers=("01.png", "17.png"))
    rows = assert_one_row_a_photo(tmp_path, failed=["01.png", "17.png"])
    assert set(rows["error"].dropna()) == {"the process of the device died on it (exit code -9)"}


def test_a_full_disk_ends_all_and_names_the_node(start):
    with pytest.raises(StoreError, match=r"^node \S+: can't write: No space left on device"):
        start(disk_full=True)


def test_lost_devices_end_their_actors(start, caplog):
    with pytest.raises(VitrolloutError, match="no device is left"):
        start(lost=("cpu",))
    assert len([message for message in caplog.messages if "no longer answers; going on without it" in message]) == 3


def test_a_stopped_run_goes_on_later(tmp_path, start, open_run):
    asked = iter(range(10_000))
    done = start(stop=lambda: next(asked) > 3)
    assert {shard.shard for shard in done} <= open_run.committed()
    start()
    assert_one_row_a_photo(tmp_path)


def test_a_node_without_the_photos_is_named(tmp_path, open_run, config):
    devices, job = connect(config), Job(config, open_run)
    check_nodes(devices, job)
    (tmp_path / "photos").rmdir()
    with pytest.raises(ConfigError, match=r"^node \S+: \S+/photos is not on this machine; give the input under"):
        check_nodes(devices, job)


def test_a_node_with_other_code_is_named(cluster, tmp_path, config):
    """From another folder: Ray puts the current one on the path of all workers."""
    shutil.copytree(ROOT / "pipeline", tmp_path / "other" / "pipeline", ignore=shutil.ignore_patterns("*.safetensors"))
    (tmp_path / "other" / "pipeline" / "figures.py").write_text("# changed\n")
    node = cluster.add_node(num_cpus=1, env_vars={"PYTHONPATH": str(tmp_path / "other")})
    command = [sys.executable, "-c", "from jobs.cli import main; main()", "run", config.input, "--out", config.out]
    command += ["--engine", "ray", "--ray-address", cluster.address]
    try:
        done = subprocess.run(map(str, command), cwd=tmp_path, capture_output=True, text=True)
    finally:
        cluster.remove_node(node)
    assert done.returncode == 2
    said = r"vitrollout: node \S+: vitrollout \S+ \(\w+\) runs there, \S+ \(\w+\) here; install the same"
    assert re.search(said, done.stderr), done.stderr


# --- the command


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Photos, a model, and the table of a plain run."""
    folder = tmp_path_factory.mktemp("material")
    save_photos(folder / "photos", 24)
    save_tiny_vit(folder / "model")
    settings = {"model": str(folder / "model"), "precision": "fp32", "batch_size": 2, "part_rows": 4, "workers": 1}
    pipeline.run(pipeline.RunConfig(input=folder / "photos", out=folder / "plain", **settings))
    return folder


def start_run(cluster, material, out, *more):
    command = [sys.executable, "-m", "jobs.cli", "run", material / "photos", "--out", out, "--engine", "ray"]
    command += ["--ray-address", cluster.address, "--model", material / "model", "--precision", "fp32"]
    command += ["--batch-size", 2, "--part-rows", 4, "--workers", 1, *more]
    return subprocess.Popen(map(str, command), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_parts(process, out, count):
    while process.poll() is None and len(part_files(out)) < count:
        try:
            process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue


def assert_as_plain(material, out):
    per_run = ["run_id", "processed_at"]
    found, plain = (pipeline.read_results(folder).drop(columns=per_run) for folder in (out, material / "plain"))
    pd.testing.assert_frame_equal(found, plain, rtol=1e-5, atol=1e-6, check_categorical=False)
    assert read_open_runs(out) == []


def test_the_table_is_that_of_a_plain_run(cluster, material, tmp_path):
    process = start_run(cluster, material, tmp_path / "out")
    wait_for_parts(process, tmp_path / "out", 1)
    lose_node(cluster)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert json.loads(stdout.splitlines()[-1])["processed"] == 24
    assert_as_plain(material, tmp_path / "out")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_coordinator_ended_by_a_signal_leaves_a_run_to_go_on_with(cluster, material, tmp_path, number):
    out = tmp_path / "out"
    process = start_run(cluster, material, out)
    wait_for_parts(process, out, 1)
    process.send_signal(number)
    process.communicate()
    assert process.returncode == (143 if number == signal.SIGTERM else -9)
    process = start_run(cluster, material, out)
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert_as_plain(material, out)
