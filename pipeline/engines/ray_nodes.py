"""The nodes of a Ray cluster and their devices; their faults are found before the first photo."""

import logging
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config import RunConfig
from pipeline.engines.job import Job, describe_code
from pipeline.engines.ray_connection import open_connection
from pipeline.errors import ConfigError, VitrolloutError, one_line
from pipeline.model.device import choose_precision

log = logging.getLogger(__name__)

_ASK_SECONDS = 120.0  # for the first process of a node, and perhaps for its image
_SMALLEST_GPU = 0.001  # a share of one: enough to see it


@dataclass(frozen=True)
class RayDevices:
    """Devices of a cluster to work on.

    Attributes:
        device: their kind: cuda or cpu.
        count: number of devices.
        cpus: cores of each.
        workers: processes for decoding, of each.
        precision: of the forward pass, on all of them.
        nodes: ids of the nodes.
        address: of the cluster; None: the caller had connected already.
    """

    device: str
    count: int
    cpus: int
    workers: int
    precision: str
    nodes: tuple[str, ...]
    address: str | None = None


@dataclass(frozen=True)
class NodeReport:
    """The answer of a node: its name, and a problem of it, or its code and the precision of its devices."""

    name: str
    problem: str | None = None
    code: str = ""
    precision: str = ""


def connect(config: RunConfig) -> RayDevices:
    """Connect to the cluster of the settings and choose its devices.

    Raises:
        ConfigError: Ray is not installed, the cluster can't be reached, has no such devices, or runs other code.
    """
    address = open_connection(config.ray_address)
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    device, chosen = choose_nodes(config.device, nodes)
    count, cpus = share_nodes(device, config.devices, [node["Resources"] for node in chosen])
    ids = tuple(node["NodeID"] for node in chosen)
    precision = _compare_nodes(config, device, ids)
    workers = cpus if config.workers == "auto" else config.workers
    log.info("Ray cluster: %d %s devices on %d nodes, with %d cores each", count, device, len(chosen), cpus)
    return RayDevices(device, count, cpus, workers, precision, ids, address)


def check_nodes(devices: RayDevices, job: Job) -> None:
    """Check that all nodes see the photos and the results folder of a run.

    Raises:
        ConfigError: a node doesn't; names it.
    """
    _ask_nodes(devices.nodes, _check_node, (job,))


def choose_nodes(device: str, nodes: Sequence[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """Choose the kind of device, and the nodes that have it.

    Raises:
        ConfigError: no node has it.
    """
    if device not in ("auto", "cuda", "cpu"):
        raise ConfigError(f"device = {device}: Ray chooses among the devices of a kind; give auto, cuda or cpu")
    with_gpu = [node for node in nodes if node["Resources"].get("GPU", 0) >= 1]
    if device == "cuda" or (device == "auto" and with_gpu):
        if not with_gpu:
            raise ConfigError("device = cuda: no node of the Ray cluster has a GPU; see: ray status")
        return "cuda", with_gpu
    with_cpu = [node for node in nodes if node["Resources"].get("CPU", 0) >= 1]
    if not with_cpu:
        raise ConfigError("the Ray cluster has no node with a core; see: ray status")
    return "cpu", with_cpu


def share_nodes(device: str, devices: object, nodes: Sequence[dict[str, float]]) -> tuple[int, int]:
    """Return the number of devices to work on, and the cores of each.

    Args:
        device: cuda or cpu.
        devices: as in the settings: how many, or all, or None for all.
        nodes: resources of each node.

    Raises:
        ConfigError: the cluster hasn't got that many.
    """
    if isinstance(devices, tuple):
        numbers = ",".join(map(str, devices))
        raise ConfigError(f"devices = {numbers}: Ray numbers the devices of each node by itself; give how many, or all")
    cores = [int(node.get("CPU", 0)) for node in nodes]
    if device == "cuda":
        gpus = [int(node["GPU"]) for node in nodes]
        present, each = sum(gpus), min(max(1, core // gpu) for core, gpu in zip(cores, gpus, strict=True))
    else:
        present = sum(cores)
        each = min(cores) if not isinstance(devices, int) else max(1, min(cores) // -(-devices // len(nodes)))
    if isinstance(devices, int) and devices > present:
        unit = "GPUs" if device == "cuda" else "cores"
        raise ConfigError(f"devices = {devices}: the Ray cluster has {present} {unit}; give at most {present}, or all")
    if isinstance(devices, int):
        return devices, each
    return (present if device == "cuda" else sum(core // each for core in cores)), each


def _compare_nodes(config: RunConfig, device: str, nodes: Sequence[str]) -> str:
    """Compare the code of all nodes with this machine's; return a precision that all of them have."""
    gpu_share = _SMALLEST_GPU if device == "cuda" and config.precision == "auto" else 0
    reports = _ask_nodes(nodes, _describe_node, (config.precision, device), gpu_share)
    for report in reports:
        if report.code != describe_code():
            raise ConfigError(
                f"node {report.name}: vitrollout {report.code} runs there, {describe_code()} here; install the same "
                "version on all nodes"
            )
    precisions = {report.precision for report in reports}
    return precisions.pop() if len(precisions) == 1 else ("fp16" if device == "cuda" else "fp32")


def _ask_nodes(
    nodes: Sequence[str], question: Callable[..., NodeReport], arguments: tuple[object, ...], gpus: float = 0
) -> list[NodeReport]:
    """Put a question to all nodes.

    Raises:
        ConfigError: a node can't answer, or has a problem; names it.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(question)
    calls = {}
    for node in nodes:
        strategy = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
        options = task.options(num_cpus=0, num_gpus=gpus, max_retries=0, scheduling_strategy=strategy)
        calls[options.remote(*arguments)] = node
    ready, silent = ray.wait(list(calls), num_returns=len(calls), timeout=_ASK_SECONDS)
    for call in silent:
        ray.cancel(call)
        log.warning("node %s of the Ray cluster doesn't answer; it is asked again before its first shard", calls[call])
    reports = [report for call in ready if (report := _take_report(call, calls[call])) is not None]
    if not reports:
        raise ConfigError(f"no node of the Ray cluster answers within {_ASK_SECONDS:.0f} s; see: ray status")
    for report in reports:
        if report.problem is not None:
            raise ConfigError(f"node {report.name}: {report.problem}")
    return reports


def _take_report(call: Any, node: str) -> NodeReport | None:
    """Return the answer of a node; None if the node is lost, perhaps before the cluster knew of it."""
    import ray

    try:
        report: NodeReport = ray.get(call)
    except ray.exceptions.RayTaskError as error:
        reason = one_line(str(error).strip().splitlines()[-1], 300)
        return NodeReport(node[:8], f"can't run vitrollout ({reason}); install the same version on all nodes")
    except ray.exceptions.RayError as error:
        log.warning("node %s of the Ray cluster is lost: %s", node[:8], one_line(error, 200))
        return None
    return report


def _describe_node(precision: str, device: str) -> NodeReport:
    """Describe the machine of this process."""
    name = platform.node()
    try:
        return NodeReport(name, code=describe_code(), precision=choose_precision(precision, device))
    except VitrolloutError as error:
        return NodeReport(name, str(error))


def _check_node(job: Job) -> NodeReport:
    """Check the machine of this process."""
    try:
        job.check_machine()
    except VitrolloutError as error:
        return NodeReport(platform.node(), str(error))
    return NodeReport(platform.node())
