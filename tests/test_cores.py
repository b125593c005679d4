"""The cores of a process: its affinity, and the CPU quotas of its container, as files of /proc and the cgroup trees."""

import os

import pytest
import torch

from pipeline import cores, load_model
from pipeline.cores import available_cores, cpu_quota
from pipeline.model import device
from pipeline.model.device import limit_torch_threads
from pipeline.photos.loader import PhotoLoader
from pipeline.training import device as training_device
from tests.photos.test_loader import SPEC

PERIOD = 100_000


@pytest.fixture
def container(tmp_path):
    """Write the files of a container: /proc/self/cgroup, mountinfo and the mounted trees; return its /proc/self."""

    def write(groups, mounts, quotas):
        """Write one container.

        Args:
            groups: content of /proc/self/cgroup.
            mounts: (root, mount point, type, options) of each file system.
            quotas: (period, quota in microseconds or a word) by folder; "v2" in front tells the version.
        """
        process = tmp_path / "proc" / "self"
        process.mkdir(parents=True)
        (process / "cgroup").write_text(groups)
        lines = [
            f"{30 + number} 23 0:28 {root} {str(tmp_path / point).replace(' ', chr(92) + '040')} "
            f"rw,nosuid shared:{number} - {kind} {kind} {options}\n"
            for number, (root, point, kind, options) in enumerate(mounts)
        ]
        (process / "mountinfo").write_text("22 1 0:21 / / rw - overlay overlay rw,lowerdir=/a\n" + "".join(lines))
        for folder, (version, quota) in quotas.items():
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            if version == "v2":
                (tmp_path / folder / "cpu.max").write_text(f"{quota} {PERIOD}\n")
            else:
                (tmp_path / folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
                (tmp_path / folder / "cpu.cfs_period_us").write_text(f"{PERIOD}\n")
        return process

    return write


V2 = [("/", "cgroup", "cgroup2", "rw,nsdelegate")]
V1 = [("/", "cgroup/memory", "cgroup", "rw,memory"), ("/", "cgroup/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct")]
V1_OF_DOCKER = [("/docker/abc", "cgroup/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct")]
HYBRID = [*V1, ("/", "cgroup/unified", "cgroup2", "rw")]

CASES = {
    "v2, a container of its own": ("0::/\n", V2, {"cgroup": ("v2", 150_000)}, 1.5),
    "v2, unlimited": ("0::/\n", V2, {"cgroup": ("v2", "max")}, None),
    "v2, limited by a group above": (
        "0::/kube.slice/pod7/app\n",
        V2,
        {
            "cgroup/kube.slice": ("v2", "max"),
            "cgroup/kube.slice/pod7": ("v2", 300_000),
            "cgroup/kube.slice/pod7/app": ("v2", 800_000),
            "cgroup/kube.slice/pod8": ("v2", 10_000),
        },
        3.0,
    ),
    "v2, limited by the inner group": (
        "0::/system.slice/job.scope\n",
        V2,
        {"cgroup/system.slice": ("v2", 400_000), "cgroup/system.slice/job.scope": ("v2", 50_000)},
        0.5,
    ),
    "v2, mounted elsewhere": (
        "0::/job\n",
        [("/", "control groups", "cgroup2", "rw")],
        {"control groups/job": ("v2", 250_000)},
        2.5,
    ),
    "v2, outside the visible groups": ("0::/../other\n", V2, {"cgroup": ("v2", 700_000)}, 7.0),
    "v1, whole tree": (
        "5:cpu,cpuacct:/lxc/c1\n3:memory:/lxc/c1\n0::/\n",
        V1,
        {"cgroup/cpu,cpuacct/lxc/c1": ("v1", 200_000), "cgroup/memory/lxc/c1": ("v1", 1_000)},
        2.0,
    ),
    "v1, without a quota": ("5:cpuacct,cpu:/\n", V1, {"cgroup/cpu,cpuacct": ("v1", -1)}, None),
    "v1, the container's own group is the root of the mount": (
        "5:cpu,cpuacct:/docker/abc\n",
        V1_OF_DOCKER,
        {"cgroup/cpu,cpuacct": ("v1", 400_000)},
        4.0,
    ),
    "v1, a group within the container": (
        "5:cpu,cpuacct:/docker/abc/batch\n",
        V1_OF_DOCKER,
        {"cgroup/cpu,cpuacct": ("v1", 400_000), "cgroup/cpu,cpuacct/batch": ("v1", 100_000)},
        1.0,
    ),
    "v1 for cpu, v2 for the rest": (
        "5:cpu,cpuacct:/job\n0::/job\n",
        HYBRID,
        {"cgroup/cpu,cpuacct/job": ("v1", 600_000), "cgroup/unified/job": ("v2", "max")},
        6.0,
    ),
    "unreadable numbers": ("0::/\n", V2, {"cgroup": ("v2", "many")}, None),
    "cpusets are no quota": ("4:cpuset:/job\n", V1, {"cgroup/cpu,cpuacct/job": ("v1", 100_000)}, None),
}


@pytest.mark.parametrize("case", CASES)
def test_the_smallest_quota_up_the_tree(container, case):
    groups, mounts, quotas, expected = CASES[case]
    assert cpu_quota(container(groups, mounts, quotas)) == expected


@pytest.mark.parametrize(
    ("affinity", "quota", "expected"),
    [(64, 200_000, 2), (64, 150_000, 2), (64, 1_000, 1), (3, 400_000, 3), (5, "max", 5)],
)
def test_cores_are_those_of_the_affinity_or_of_the_quota(container, monkeypatch, affinity, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)))
    monkeypatch.setattr(cores, "_PROCESS", container("0::/\n", V2, {"cgroup": ("v2", quota)}))
    assert available_cores() == expected


def test_without_control_groups_the_affinity_counts(tmp_path, monkeypatch):
    assert cpu_quota(tmp_path / "proc") is None
    monkeypatch.setattr(cores, "_PROCESS", tmp_path / "proc")
    assert available_cores() == len(os.sched_getaffinity(0))


@pytest.fixture
def threads_of_torch():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize(("threads", "allowed", "expected"), [(4, 2, 2), (3, 1, 1), (1, 8, 1)])
def test_torch_keeps_to_the_quota_and_gets_no_more_threads(
    monkeypatch, threads_of_torch, tiny_vit, threads, allowed, expected
):
    monkeypatch.setattr(device, "available_cores", lambda: allowed)
    monkeypatch.setattr(training_device, "choose_device", lambda _: "cpu")
    for start in (
        limit_torch_threads,
        lambda: load_model(str(tiny_vit), device="cpu"),
        lambda: training_device.TrainingDevice.choose("fp32"),
    ):
        threads_of_torch(threads)
        start()
        assert torch.get_num_threads() == expected


def test_decoders_keep_to_the_quota(container, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr(cores, "_PROCESS", container("0::/\n", V2, {"cgroup": ("v2", 300_000)}))
    with PhotoLoader(SPEC, num_workers="auto") as loader:
        assert loader.num_workers == 3
