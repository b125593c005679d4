"""A run for processes of other machines: its settings and its plan, and checks of the machine."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from pipeline.results.files import ResultsFiles
from pipeline.results.open_run import OpenRun, read_open_runs
from pipeline.run_model import open_run_model
from pipeline.work import ShardRunner


@cache
def describe_code() -> str:
    """Return the version of vitrollout with a digest of its sources."""
    folder = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    try:
        number = version("vitrollout")
    except PackageNotFoundError:  # run from a folder of sources
        number = "unpacked"
    return f"{number} ({digest.hexdigest()[:12]})"


@dataclass(frozen=True)
class Job:
    """What a process needs to work on the shards of a run: it can be sent to another machine.

    Attributes:
        config: all settings.
        run: the plan.
        code: version of the sender's code.
    """

    config: RunConfig
    run: OpenRun
    code: str = field(default_factory=describe_code)

    def check_machine(self) -> None:
        """Check that this machine has the code, the photos and the results folder of the run.

        Raises:
            ConfigError: it hasn't.
        """
        source, out = self.config.input, self.run.out
        if self.code != (here := describe_code()):
            raise ConfigError(f"vitrollout {here} runs here, the run began with {self.code}; install the same version")
        if isinstance(source, Path) and not source.exists():
            raise ConfigError(f"{source} is not on this machine; give the input under the same path to all machines")
        if self.run.run_id not in {run.run_id for run in read_open_runs(out)}:
            raise ConfigError(f"{out} on this machine is not the results folder of the run; all machines must share it")


def start_runner(
    job: Job, device: str, workers: int, threads: int | None, on_batch: Callable[[int, int], None]
) -> ShardRunner:
    """Build the runner of a process of its own, for one device.

    Args:
        job: the run.
        device: as torch names it.
        workers: processes for decoding.
        threads: of torch on a CPU; None: its own choice.
        on_batch: as of `ShardRunner`.

    Raises:
        ConfigError: this machine has another model, other code or other files than the one that planned the run.
    """
    job.check_machine()
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    model = open_run_model(job.config.model_copy(update={"device": device, "workers": workers}))
    if model.fingerprint != job.run.record.fingerprint:
        raise ConfigError(
            f"the model here is not that of the plan (fingerprint {model.fingerprint}, planned "
            f"{job.run.record.fingerprint}); give every machine the same model"
        )
    files = ResultsFiles(job.run.out, job.run.record.summary.input, job.run.run_id)
    return ShardRunner(job.run, model, files, on_batch=on_batch)
