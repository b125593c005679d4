"""Measure the cost of each method's maps beside the bare model: forward with SDPA, same weights, same batch, in turn.

Without --model it is a ViT-B/16 at 224 pixels with random weights. Prints a table in Markdown; the last line is JSON.

python -m jobs.benchmarks.method_costs
python -m jobs.benchmarks.method_costs --model bundled --input-size 518 --batch-size 4
"""

import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from jobs.benchmarks.materials import VIT_B_16, load_network, save_checkpoint
from jobs.benchmarks.timing import time_in_turn
from jobs.command_line.decorator import command
from jobs.command_line.exits import exit_on_error
from pipeline.maps.methods import METHODS
from pipeline.maps.passes import MapPlan
from pipeline.model.classifier import Classifier
from pipeline.model.open import open_model
from pipeline.settings import ModelSettings

_BARS = {name: 3.5 if method.needs_gradient else 1.3 for name, method in METHODS.items()}  # over the bare forward


@command(__doc__)
@click.option("--model", help="checkpoint; default: ViT-B/16 with random weights")
@click.option("--input-size", type=int, help="pixels; default: the checkpoint's own")
@click.option("--precision", default="auto", show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--batch-size", default=8, show_default=True)
@click.option("--rounds", default=7, show_default=True, help="number of timings of each method; medians count")
@click.option("--threads", default=1, show_default=True, help="of a CPU")
def method_costs_command(model: str | None, batch_size: int, rounds: int, threads: int, **settings: Any) -> None:
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = model or str(save_checkpoint(VIT_B_16, Path(folder)))
        opened = open_model(ModelSettings(model=checkpoint, **settings))
        classifier = opened.load()
        bare = load_network(opened.checkpoint.folder, "sdpa", opened.precision).to(opened.device)
    pixels = torch.randint(0, 256, (batch_size, 3, *classifier.geometry.input_size), dtype=torch.uint8)
    variants: dict[str, Callable[[], Any]] = {"bare": partial(_run_bare_forward, bare, classifier, pixels)}
    for method in METHODS:
        variants[method] = partial(classifier.predict, pixels, MapPlan((method,)))
    # on a CPU the time of this process alone, without other work of the machine
    timings = time_in_turn(variants, rounds, time.process_time if opened.device == "cpu" else time.perf_counter)
    ratios = {name: timings.ratio(name, "bare") for name in variants}
    print(f"{model or 'ViT-B/16'}, {batch_size} x {pixels.shape[2]} pixels, {bare.dtype}, {opened.device}\n")
    print("| method | s a batch | of the bare forward | at most |\n|---|---|---|---|")
    for name, ratio in ratios.items():
        print(f"| {name} | {timings.median(name):.3f} | {ratio:.2f} | {_BARS.get(name, '')} |")
    print(json.dumps(ratios))


@torch.inference_mode()
def _run_bare_forward(network: Any, classifier: Classifier, pixels: Tensor) -> Any:
    inputs = (pixels.to(network.device).float() - classifier.mean) * classifier.scale
    finer = classifier.interpolate_positions
    return network(pixel_values=inputs.to(network.dtype), interpolate_pos_encoding=finer).logits.cpu()


if __name__ == "__main__":
    with exit_on_error("method_costs"):
        method_costs_command()
