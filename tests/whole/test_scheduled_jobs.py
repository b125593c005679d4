"""Files for schedulers that run the jobs of one run: a Slurm array, an Indexed Job, a Ray cluster on Kubernetes."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

import pipeline
from jobs.cli import cli
from pipeline.results.open_run import read_open_runs
from tests.helpers.models import save_tiny_vit

ROOT = Path(__file__).parents[2]
SCHEDULES = ROOT / "jobs" / "schedules"

# Runs the steps at once, one after another, the jobs of an array too; the number of a job is a file's.
SBATCH = """#!/bin/bash
set -e
tasks=
while [ "${1#--}" != "$1" ]; do
    case $1 in --array=*) tasks=${1#--array=1-} ;; esac
    shift
done
echo "$2" >>"$0.log"
number=$(wc -l <"$0.log")
if [ -z "$tasks" ]; then
    bash "$@" >"$0.$2.out" 2>&1
else
    for task in $(seq "$tasks"); do
        SLURM_ARRAY_TASK_ID=$task SLURM_ARRAY_TASK_COUNT=$tasks bash "$@" >"$0.$2-$task.out" 2>&1 || true
    done
fi
echo "$number"
"""


@pytest.fixture
def slurm(tmp_path):
    """Submits slurm.sh with three jobs over the sample images, to a Slurm that runs them here."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "sbatch").write_text(SBATCH)
    (tools / "vitrollout").write_text(f'#!/bin/sh\nexec {sys.executable} -m jobs.cli "$@"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    script = tmp_path / "slurm.sh"
    script.write_text((SCHEDULES / "slurm.sh").read_text().replace("/opt/vitrollout/bin", str(tools)))
    save_tiny_vit(tmp_path / "model")
    environment = {
        "PATH": f"{tools}:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "INPUT": str(ROOT / "sample_images"),
        "OUT": str(tmp_path / "out"),
        "MODEL": str(tmp_path / "model"),
        "JOBS": "3",
        "DEVICE": "cpu",
        "PRECISION": "fp32",
        "OPTIONS": "--part-rows 4 --no-report --overlays none",
    }

    def submit():
        return subprocess.run(["bash", script], env=environment, capture_output=True, text=True)

    return submit


def test_slurm_array_plans_works_and_finishes(slurm, tmp_path):
    done = slurm()
    outputs = {file.name: file.read_text() for file in (tmp_path / "bin").glob("*.out")}
    assert (done.returncode, done.stdout) == (0, "plan 1, work 2, finish 3\n"), (done.stderr, outputs)
    assert (tmp_path / "bin" / "sbatch.log").read_text().split() == ["plan", "work", "finish"]
    planned = json.loads(outputs["sbatch.plan.out"].splitlines()[-1])
    assert planned["photos_left"] == 20
    work = [json.loads(outputs[f"sbatch.work-{task}.out"].splitlines()[-1]) for task in (1, 2, 3)]
    assert [job["ok"] for job in work] == [8, 8, 4]
    assert json.loads(outputs["sbatch.finish.out"].splitlines()[-1])["processed"] == 20
    assert len(pipeline.read_results(tmp_path / "out")) == 20
    assert read_open_runs(tmp_path / "out") == []


def test_slurm_script_is_valid_and_gives_time_to_stop():
    text = (SCHEDULES / "slurm.sh").read_text()
    assert subprocess.run(["bash", "-n", SCHEDULES / "slurm.sh"]).returncode == 0
    assert "#SBATCH --signal=B:TERM@120" in text
    steps = [line for line in text.splitlines() if "vitrollout plan" in line or "vitrollout finish" in line]
    assert all("exec vitrollout" in line for line in steps)  # the signal goes to the shell's process


# --- Kubernetes


def indexed_jobs():
    return {it["metadata"]["labels"]["step"]: it for it in yaml.safe_load_all(read("kubernetes-indexed.yaml"))}


def read(name):
    return (SCHEDULES / name).read_text()


@pytest.mark.parametrize("version", ["1.33", "1.37"])
@pytest.mark.parametrize("step", ["plan", "work", "finish"])
def test_kubernetes_accepts_every_field(step, version):
    kubernetes_validate.validate(indexed_jobs()[step], version, strict=True)


def test_each_index_has_its_own_tries_and_its_own_shards(tmp_path):
    spec = indexed_jobs()["work"]["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["backoffLimitPerIndex"] > 0
    assert spec["parallelism"] <= spec["completions"]
    (container,) = spec["template"]["spec"]["containers"]
    shards = [shard_of_pod(container, tmp_path, index) for index in range(spec["completions"])]
    assert shards == [f"{index + 1}/{spec['completions']}" for index in range(spec["completions"])]


def shard_of_pod(container, tmp_path, index):
    """Run the container's shell with a `vitrollout` that prints its arguments."""
    fake = tmp_path / "vitrollout"
    fake.write_text('#!/bin/sh\necho "$@"\n')
    fake.chmod(0o755)
    tini, *shell = container["command"]
    assert (tini, shell) == ("tini", ["--", "sh", "-c"])
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "JOB_COMPLETION_INDEX": str(index)}
    done = subprocess.run([*shell[1:], *container["args"]], env=environment, capture_output=True, text=True)
    command, out, option, shard = done.stdout.split()
    assert (command, out, option) == ("work", "/results/cells", "--shard")
    return shard


@pytest.mark.parametrize("step", ["plan", "work", "finish"])
def test_jobs_never_retry_a_wrong_configuration(step):
    spec = indexed_jobs()[step]["spec"]
    wrong, disrupted = spec["podFailurePolicy"]["rules"]
    assert wrong["action"] == "FailJob"
    assert wrong["onExitCodes"] == {"containerName": "vitrollout", "operator": "In", "values": [2]}
    assert disrupted["action"] == "Ignore"
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] >= 60


def test_plan_and_finish_are_commands_of_ours():
    for step in ("plan", "finish"):
        (container,) = indexed_jobs()[step]["spec"]["template"]["spec"]["containers"]
        assert_is_command(container["args"])


def assert_is_command(arguments):
    name, *rest = arguments
    command = cli.get_command(None, name)
    command.make_context(name, rest)  # parses the options, without running anything


# --- KubeRay


@pytest.fixture
def rayjob():
    return yaml.safe_load(read("kuberay.yaml"))


def test_pods_of_the_ray_cluster_are_valid(rayjob):
    cluster = rayjob["spec"]["rayClusterSpec"]
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ray"}, **group["template"]}
        kubernetes_validate.validate(pod, "1.33", strict=True)
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_ray_version_is_the_pinned_one(rayjob):
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert rayjob["spec"]["rayClusterSpec"]["rayVersion"] == pins["ray"]


def test_workers_have_the_devices_and_the_head_none(rayjob):
    cluster = rayjob["spec"]["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (group,) = cluster["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_entrypoint_is_a_command_of_ours_and_failed_photos_are_a_success(rayjob):
    tini, *words = shlex.split(rayjob["spec"]["entrypoint"])
    assert (tini, words[:4]) == ("tini", ["-s", "-e", "3", "--"])
    assert words[4] == "vitrollout"
    assert_is_command(words[5:])
    assert shutil.which("bash"), "KubeRay starts containers with bash"
