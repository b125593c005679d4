"""The cost of maps beside the bare forward pass: time, and peak memory."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from jobs.benchmarks.materials import VIT_B_16, VIT_L_32, VIT_S_14, load_network, save_checkpoint
from jobs.benchmarks.timing import Figure, time_in_turn
from pipeline.maps.passes import MapPlan
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.cpu_streams import split_over_cores
from pipeline.model.device import Precision, cpu_has_bf16
from pipeline.model.load import load_classifier

_CASES = ((VIT_B_16, 8, 1.05), (VIT_L_32, 8, 1.05), (VIT_S_14, 4, 1.30))  # shape, batch, bar
_BATCH, _MEMORY_BATCH = 8, 4


def measure(folder: Path, rounds: int) -> list[Figure]:
    """Measure forward + capture + rollout over the bare SDPA forward, and the extra memory of one long sequence."""
    figures = []
    for shape, batch, bar in _CASES:
        checkpoint = save_checkpoint(shape, folder)
        for precision in _native_precisions() if shape is VIT_S_14 else _native_precisions()[:1]:
            timings = time_in_turn(build_variants(checkpoint, batch, precision), rounds)
            question = f"forward + capture + rollout / bare SDPA forward; {shape.name}, batch {batch}, {precision}"
            figures.append(Figure(question, timings.ratio("with maps", "bare"), bar, detail=timings.format_medians()))
    figures += [_measure_beside_a_busy_loop(save_checkpoint(shape, folder), rounds) for shape in (VIT_B_16, VIT_L_32)]
    checkpoint = save_checkpoint(VIT_S_14, folder)
    bare, ours = (_measure_extra_memory(checkpoint, variant) for variant in ("bare", "with maps"))
    question = f"extra peak memory over the bare forward, 1,370 tokens, batch {_MEMORY_BATCH}"
    detail = f"bare {bare:,.0f} MB, with maps {ours:,.0f} MB"
    figures.append(Figure(question, (ours - bare) / _MEMORY_BATCH, 120, "MB an image", detail=detail))
    return figures


def _measure_beside_a_busy_loop(checkpoint: Path, rounds: int) -> Figure:
    """Measure with another process that keeps one core busy, and the model in streams, as runs have it."""
    precision = _native_precisions()[0]
    variants = build_variants(checkpoint, _BATCH, precision)
    classifier = load_classifier(resolve_checkpoint(str(checkpoint)), device="cpu", precision=precision)
    streams, size = split_over_cores(classifier, _BATCH), classifier.geometry.input_size
    pixels = torch.randint(0, 256, (_BATCH, 3, *size), dtype=torch.uint8)
    variants["with maps"] = lambda: streams.predict(pixels, MapPlan())
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        timings = time_in_turn(variants, rounds)
    finally:
        busy.kill()
        busy.wait()
    return Figure(
        f"forward + capture + rollout in streams / bare SDPA forward, beside a busy loop; {checkpoint.name}, "
        f"batch {_BATCH}, {precision}",
        timings.ratio("with maps", "bare"), 1.2, detail=timings.format_medians(),
    )  # fmt: skip


def build_variants(
    checkpoint: Path, batch: int, precision: Precision, device: str = "cpu"
) -> dict[str, Callable[[], Any]]:
    """Build the forward passes to compare: transformers' SDPA and ours, on the same weights and the same pixels."""
    classifier = load_classifier(resolve_checkpoint(str(checkpoint)), device=device, precision=precision)
    bare = load_network(checkpoint, "sdpa", precision).to(device)
    height, width = classifier.geometry.input_size
    pixels = torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8)
    inputs = ((pixels.to(device).float() - classifier.mean) * classifier.scale).to(bare.dtype)

    def forward() -> Any:
        with torch.inference_mode():
            return bare(pixel_values=inputs).logits.cpu()  # the copy waits for the device

    return {"bare": forward, "with maps": lambda: classifier.predict(pixels, MapPlan())}


def _native_precisions() -> tuple[Precision, ...]:
    return ("bf16", "fp32") if cpu_has_bf16() else ("fp32",)


def _measure_extra_memory(checkpoint: Path, variant: str) -> float:
    """Measure the peak memory of three passes in a fresh process, in MB over its memory before them."""
    script = (
        "import re, sys; from pathlib import Path; from jobs.benchmarks.forward import build_variants\n"
        "def resident(name): return int(re.search(name + r':\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        f"forward = build_variants(Path(sys.argv[1]), {_MEMORY_BATCH}, sys.argv[3])[sys.argv[2]]\n"
        "Path('/proc/self/clear_refs').write_text('5')  # restarts the record of the peak\n"
        "before = resident('VmRSS')\n"
        "for _ in range(3): forward()\n"
        "print((resident('VmHWM') - before) / 1000)"
    )
    arguments = [sys.executable, "-c", script, str(checkpoint), variant, _native_precisions()[0]]
    return float(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout)
