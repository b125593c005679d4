"""What a coordinator and its devices tell each other: shards go out by number, answers come back."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, TypeVar

from pipeline.work import ShardDone, ShardRunner


class StartRunner(Protocol):
    """Builds the runner of a device in its own process; can be pickled. See `pipeline.work.start_runner`."""

    def __call__(
        self, device: str, workers: int, threads: int | None, on_batch: Callable[[int, int], None]
    ) -> ShardRunner:
        """Build it for a device, with a number of decoders and of torch's threads; `on_batch` is a sign of life."""


@dataclass(frozen=True)
class DeviceShare:
    """One device, and its share of its machine's cores.

    Attributes:
        device: as torch names it.
        workers: processes for decoding.
        threads: of torch on a CPU; None: its own choice.
    """

    device: str
    workers: int
    threads: int | None = None


@dataclass(frozen=True)
class OneByOne:
    """A shard to work on photo by photo; photos in `broken` get its reasons."""

    shard: int
    broken: Mapping[str, str]


@dataclass(frozen=True)
class SignOfLife:
    """The process has loaded its model, done a batch, or taken up a photo of a shard one by one."""

    photo: str | None = None


@dataclass(frozen=True)
class Fault:
    """The process ends with an error."""

    error: Exception


@dataclass(frozen=True)
class Died:
    """The process is gone.

    Attributes:
        exit_code: of the process; None: it was lost with its machine, whatever it was working on.
        reason: for the log.
    """

    exit_code: int | None
    reason: str


Task: TypeAlias = int | OneByOne
Answer: TypeAlias = ShardDone | SignOfLife | Fault | Died


def shard_of(task: Task) -> int:
    """Return the number of the shard of a task."""
    return task.shard if isinstance(task, OneByOne) else task


@dataclass(eq=False)
class DeviceWorker(ABC):
    """A process with one device, as its coordinator sees it.

    Attributes:
        share: its device and cores.
        name: of the device, for the log.
        tasks: shards in its hands, the running one first.
        photo: the photo last taken up, one by one.
        is_there: the process exists, and can be given shards.
        is_ready: its model is loaded.
        heard: time of its last answer.
        failed_starts: its predecessors in a row that died before their model was loaded.
    """

    share: DeviceShare
    name: str
    tasks: list[Task] = field(default_factory=list, kw_only=True)
    photo: str | None = field(default=None, kw_only=True)
    is_there: bool = field(default=True, kw_only=True)
    is_ready: bool = field(default=False, kw_only=True)
    heard: float = field(default=0.0, kw_only=True)
    failed_starts: int = field(default=0, kw_only=True)

    @abstractmethod
    def send(self, message: Task | None) -> None:
        """Hand over a task; None: end after the current batch. The death of the process shows at its next answer."""

    @abstractmethod
    def end(self) -> None:
        """Kill the process if it is still there."""


Worker = TypeVar("Worker", bound=DeviceWorker)


class Engine(Protocol[Worker]):
    """Starts processes with devices, here or on other machines, and listens to them."""

    def start(self, share: DeviceShare) -> Worker:
        """Start a process."""

    def listen(self, workers: list[Worker], seconds: float) -> list[tuple[Worker, Answer]]:
        """Wait for answers, at most so long."""
