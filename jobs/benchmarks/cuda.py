"""What only a CUDA device shows: the cost of maps there in time and memory, and whether the host keeps it busy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobs.benchmarks.forward import variants
from jobs.benchmarks.host import WatchedDevice, watched_run
from jobs.benchmarks.materials import VIT_B_16, VIT_L_32, VIT_S_14, Shape, save_checkpoint
from jobs.benchmarks.timing import Figure, in_turn
from pipeline.errors import ConfigError
from pipeline.model.device import choose_precision

_CASES = ((VIT_B_16, 64, 1.05), (VIT_L_32, 64, 1.05), (VIT_S_14, 16, 1.30))


def measure(folder: Path, rounds: int) -> list[Figure]:
    """Forward + capture + rollout over the bare SDPA forward, extra memory, and the time that the device waits.

    Raises:
        ConfigError: there is no CUDA device.
    """
    import torch

    if not torch.cuda.is_available():
        raise ConfigError("there is no CUDA device here; `make bench` measures what needs none")
    figures = []
    for shape, batch, bar in _CASES:
        for precision in dict.fromkeys((choose_precision("auto", "cuda"), "fp16")):
            figures += _maps(_checkpoint(shape, folder), batch, precision, rounds, bar, shape.name)
    for overlays in (True, False):
        device = watched_run(
            folder, _checkpoint(VIT_B_16, folder), WatchedDevice, overlays, batch_size=64, device="cuda"
        )
        question = f"time that the CUDA device waits, ViT-B/16, 300x300, {'with' if overlays else 'without'} overlays"
        figures.append(Figure(question, 100 * device.waits, 5, "%", detail=f"{device.rate:.0f} images/s"))
    return figures


def _checkpoint(shape: Shape, folder: Path) -> Path:
    return save_checkpoint(shape, folder / shape.name.replace("/", "-"))


def _maps(checkpoint: Path, batch: int, precision: str, rounds: int, bar: float, name: str) -> list[Figure]:
    runs = variants(checkpoint, batch, precision, "cuda")
    timings = in_turn(runs, rounds)
    bare, ours = (_peak_memory(runs[variant]) for variant in ("bare", "with maps"))
    what = f"{name}, batch {batch}, {precision}, CUDA"
    rate = f"{batch / timings.median('with maps'):.0f} images/s with maps"
    return [
        Figure(
            f"forward + capture + rollout / bare SDPA forward; {what}", timings.ratio("with maps", "bare"), bar,
            detail=f"{timings.describe()}, {rate}",
        ),
        Figure(
            f"extra peak memory over the bare forward; {what}", (ours - bare) / batch, 120, "MB an image",
            detail=f"bare {bare:,.0f} MB, with maps {ours:,.0f} MB",
        ),
    ]  # fmt: skip


def _peak_memory(run: Callable[[], Any]) -> float:
    """MB of the device that torch had in use at most, the weights of both variants among them."""
    import torch

    torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated() / 1e6
