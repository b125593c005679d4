"""Figures of a CUDA device: the cost of maps in time and memory, and the device's waiting time for the host."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from jobs.benchmarks.forward import build_variants
from jobs.benchmarks.materials import VIT_B_16, VIT_L_32, VIT_S_14, save_checkpoint
from jobs.benchmarks.timing import Figure, time_in_turn
from jobs.benchmarks.watched_device import WatchedDevice, run_watched
from pipeline.errors import ConfigError
from pipeline.model.device import Precision, choose_precision

_CASES = ((VIT_B_16, 64, 1.05), (VIT_L_32, 64, 1.05), (VIT_S_14, 16, 1.30))  # shape, batch, bar


def measure(folder: Path, rounds: int) -> list[Figure]:
    """Measure forward + capture + rollout over the bare SDPA forward, extra memory, and the device's waiting time.

    Raises:
        ConfigError: there is no CUDA device.
    """
    if not torch.cuda.is_available():
        raise ConfigError("there is no CUDA device here; use `make bench`, for machines without one")
    precisions: tuple[Precision, ...] = (choose_precision("auto", "cuda"), "fp16")
    figures = []
    for shape, batch, bar in _CASES:
        for precision in dict.fromkeys(precisions):
            variants = build_variants(save_checkpoint(shape, folder), batch, precision, "cuda")
            case = f"{shape.name}, batch {batch}, {precision}, CUDA"
            figures += _measure_maps(case, variants, batch, rounds, bar)
    for overlays in (True, False):
        device = run_watched(
            folder, save_checkpoint(VIT_B_16, folder), WatchedDevice, overlays, batch_size=64, device="cuda"
        )
        drawn = "with" if overlays else "without"
        question = f"waiting time of the CUDA device, ViT-B/16, 300x300, {drawn} overlays"
        figures.append(Figure(question, 100 * device.waits, 5, "%", detail=f"{device.rate:.0f} images/s"))
    return figures


def _measure_maps(
    case: str, variants: Mapping[str, Callable[[], Any]], batch: int, rounds: int, bar: float
) -> list[Figure]:
    timings = time_in_turn(variants, rounds)
    bare, ours = (_measure_peak_memory(variants[name]) for name in ("bare", "with maps"))
    rate = f"{batch / timings.median('with maps'):.0f} images/s with maps"
    return [
        Figure(
            f"forward + capture + rollout / bare SDPA forward; {case}", timings.ratio("with maps", "bare"), bar,
            detail=f"{timings.format_medians()}, {rate}",
        ),
        Figure(
            f"extra peak memory over the bare forward; {case}", (ours - bare) / batch, 120, "MB an image",
            detail=f"bare {bare:,.0f} MB, with maps {ours:,.0f} MB",
        ),
    ]  # fmt: skip


def _measure_peak_memory(forward: Callable[[], Any]) -> float:
    """Measure the peak of torch's memory on the device in MB, weights of both variants included."""
    torch.cuda.reset_peak_memory_stats()
    forward()
    return torch.cuda.max_memory_allocated() / 1e6
