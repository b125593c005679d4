"""What maps cost over the bare forward pass: time, and memory at its peak."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobs.benchmarks.materials import VIT_B_16, VIT_L_32, VIT_S_14, save_checkpoint
from jobs.benchmarks.timing import Figure, in_turn

_CASES = ((VIT_B_16, 8, 1.05), (VIT_L_32, 8, 1.05), (VIT_S_14, 4, 1.30))
_MEMORY_BATCH = 4


def measure(folder: Path, rounds: int) -> list[Figure]:
    """Forward + capture + rollout over the bare SDPA forward, and the extra memory of one long sequence."""
    figures = []
    for shape, batch, bar in _CASES:
        for precision in _precisions() if shape is VIT_S_14 else _precisions()[:1]:
            checkpoint = save_checkpoint(shape, folder / shape.name.replace("/", "-"))
            timings = in_turn(variants(checkpoint, batch, precision), rounds)
            question = f"forward + capture + rollout / bare SDPA forward; {shape.name}, batch {batch}, {precision}"
            figures.append(Figure(question, timings.ratio("with maps", "bare"), bar, detail=timings.describe()))
    checkpoint = save_checkpoint(VIT_S_14, folder / VIT_S_14.name.replace("/", "-"))
    bare, ours = (_peak_memory(checkpoint, variant) for variant in ("bare", "with maps"))
    question = f"extra peak memory over the bare forward, 1,370 tokens, batch {_MEMORY_BATCH}"
    detail = f"bare {bare:,.0f} MB, with maps {ours:,.0f} MB"
    figures.append(Figure(question, (ours - bare) / _MEMORY_BATCH, 120, "MB an image", detail=detail))
    return figures


def _precisions() -> tuple[str, ...]:
    from pipeline.model.device import cpu_has_bf16

    return ("bf16", "fp32") if cpu_has_bf16() else ("fp32",)


def variants(checkpoint: Path, batch: int, precision: str, device: str = "cpu") -> dict[str, Callable[[], Any]]:
    """The same weights on the same pixels, by transformers' SDPA and by us."""
    import torch
    from transformers import AutoModelForImageClassification

    from pipeline.maps.passes import MapPlan
    from pipeline.model.checkpoint import resolve_checkpoint
    from pipeline.model.classifier import load_classifier

    classifier = load_classifier(resolve_checkpoint(str(checkpoint)), device=device, precision=precision)  # type: ignore[arg-type]
    dtype = classifier.network.dtype
    bare = AutoModelForImageClassification.from_pretrained(checkpoint, dtype=dtype, attn_implementation="sdpa").eval()
    bare.to(device)
    height, width = classifier.geometry.input_size
    pixels = torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8)
    inputs = ((pixels.to(device).float() - classifier.mean) * classifier.scale).to(dtype)

    def forward() -> Any:
        with torch.inference_mode():
            return bare(pixel_values=inputs).logits.cpu()  # which also waits for the device

    return {"bare": forward, "with maps": lambda: classifier.predict(pixels, MapPlan())}


def _peak_memory(checkpoint: Path, variant: str) -> float:
    """MB that a fresh process needs at most for one variant, run three times, beside what was there before it."""
    script = (
        "import re, sys; from pathlib import Path; from jobs.benchmarks.forward import variants\n"
        "def resident(name): return int(re.search(name + r':\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        f"run = variants(Path(sys.argv[1]), {_MEMORY_BATCH}, sys.argv[3])[sys.argv[2]]\n"
        "Path('/proc/self/clear_refs').write_text('5')  # from here on the peak counts\n"
        "before = resident('VmRSS')\n"
        "for _ in range(3): run()\n"
        "print((resident('VmHWM') - before) / 1000)"
    )
    arguments = [sys.executable, "-c", script, str(checkpoint), variant, _precisions()[0]]
    return float(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout)
