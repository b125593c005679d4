"""The choice of devices of a Ray cluster, and clusters out of reach; nothing here needs Ray."""

import socket
import subprocess
import sys

import pytest

from pipeline.config import RunConfig
from pipeline.engines.ray_nodes import choose_nodes, connect, share_nodes
from pipeline.errors import ConfigError

HEAD, CPUS = {"Resources": {"CPU": 0.0}}, {"Resources": {"CPU": 8.0}}
GPUS = {"Resources": {"CPU": 16.0, "GPU": 4.0}}


@pytest.mark.parametrize(
    ("device", "nodes", "kind", "chosen"),
    [
        ("auto", [HEAD, CPUS, GPUS], "cuda", [GPUS]),
        ("auto", [HEAD, CPUS], "cpu", [CPUS]),
        ("cpu", [CPUS, GPUS], "cpu", [CPUS, GPUS]),
        ("cuda", [CPUS, GPUS], "cuda", [GPUS]),
    ],
)
def test_nodes_with_the_device_are_chosen(device, nodes, kind, chosen):
    assert choose_nodes(device, nodes) == (kind, chosen)


@pytest.mark.parametrize(
    ("device", "nodes", "said"),
    [
        ("cuda", [CPUS], "device = cuda: no node of the Ray cluster has a GPU; see: ray status"),
        ("cuda:1", [GPUS], "device = cuda:1: Ray chooses among the devices of a kind; give auto, cuda or cpu"),
        ("auto", [HEAD], "the Ray cluster has no node with a core; see: ray status"),
    ],
)
def test_devices_not_in_the_cluster_are_refused(device, nodes, said):
    with pytest.raises(ConfigError, match=said):
        choose_nodes(device, nodes)


@pytest.mark.parametrize(
    ("device", "devices", "nodes", "count", "cores"),
    [
        ("cuda", None, [{"CPU": 16, "GPU": 4}, {"CPU": 64, "GPU": 8}], 12, 4),
        ("cuda", "all", [{"CPU": 2, "GPU": 4}], 4, 1),
        ("cuda", 3, [{"CPU": 16, "GPU": 4}], 3, 4),
        ("cpu", "all", [{"CPU": 8}, {"CPU": 8}, {"CPU": 17}], 4, 8),
        ("cpu", 4, [{"CPU": 8}, {"CPU": 8}], 4, 4),
        ("cpu", 5, [{"CPU": 8}, {"CPU": 8}], 5, 2),
    ],
)
def test_cores_are_shared_by_the_devices_of_a_node(device, devices, nodes, count, cores):
    assert share_nodes(device, devices, nodes) == (count, cores)


def test_more_devices_than_there_are_or_numbered_ones_are_refused():
    with pytest.raises(ConfigError, match="devices = 9: the Ray cluster has 8 GPUs; give at most 8, or all"):
        share_nodes("cuda", 9, [{"CPU": 16, "GPU": 8}])
    with pytest.raises(ConfigError, match="devices = 0,2: Ray numbers the devices of each node by itself; give how ma"):
        share_nodes("cuda", (0, 2), [{"CPU": 16, "GPU": 8}])


@pytest.fixture
def config(tmp_path):
    def config(**settings):
        (tmp_path / "photos").mkdir(exist_ok=True)
        return RunConfig(input=tmp_path / "photos", out=tmp_path / "out", engine="ray", **settings)

    return config


def test_an_address_without_a_server_is_refused_at_once(config):
    pytest.importorskip("ray")
    with socket.socket() as taken:  # bound, not listening
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=rf"ray_address = {address}: can't be reached \(Connection refused\)"):
            connect(config(ray_address=address))


@pytest.mark.parametrize("address", ["ray://head:10001", "http://head:8265"])
def test_addresses_of_other_doors_are_refused(config, address):
    pytest.importorskip("ray")
    with pytest.raises(ConfigError, match=f"ray_address = {address}: must be HOST:PORT"):
        connect(config(ray_address=address))


def test_a_missing_ray_names_its_extra(config, tmp_path):
    script = (
        "import sys; sys.modules['ray'] = None\n"
        "sys.argv = ['vitrollout', 'run', sys.argv[1], '--out', sys.argv[2], '--engine', 'ray']\n"
        "from jobs.cli import main; main()\n"
    )
    folders = [config().input, tmp_path / "out"]
    done = subprocess.run([sys.executable, "-c", script, *map(str, folders)], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "vitrollout: engine = ray: Ray is missing; install it with: pip install 'vitrollout[ray]'\n"
