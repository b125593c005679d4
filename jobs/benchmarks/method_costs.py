"""What the maps of each method cost beside the bare model: forward with SDPA, same weights, same batch, in turn.

python -m jobs.benchmarks.method_costs
python -m jobs.benchmarks.method_costs --model bundled --input-size 518 --batch-size 4

Without a model it is a ViT-B/16 at 224 pixels with random weights. Prints a table in Markdown; the last line is JSON.
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
from transformers import AutoModelForImageClassification, ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from jobs.benchmarks.timing import in_turn
from pipeline.maps.methods import BACKWARD, FORWARD
from pipeline.maps.passes import MapPlan
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.classifier import Classifier, load_classifier
from pipeline.model.device import choose_device, choose_precision

# of forward and map over the bare forward
_AT_MOST: dict[str, float] = dict.fromkeys(FORWARD, 1.3) | dict.fromkeys(BACKWARD, 3.5)


@click.command(help=__doc__.replace("\n\n", "\n\n\b\n"))
@click.option("--model", help="checkpoint; default: ViT-B/16 with random weights")
@click.option("--input-size", type=int, help="pixels; default: the checkpoint's own")
@click.option("--precision", default="auto", show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--batch-size", default=8, show_default=True)
@click.option("--rounds", default=7, show_default=True, help="how often each is timed; medians count")
@click.option("--threads", default=1, show_default=True, help="of a CPU")
def method_costs(  # noqa: D103 - its help is the module's
    model: str | None, input_size: int | None, precision: str, device: str, batch_size: int, rounds: int, threads: int
) -> None:
    torch.set_num_threads(threads)
    chosen = choose_device(device)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = resolve_checkpoint(model or _random_vit_base(Path(folder)))
        classifier = load_classifier(
            checkpoint,
            device=chosen,
            precision=choose_precision(precision, chosen),
            input_size=(input_size, input_size) if input_size else None,
        )
        bare = AutoModelForImageClassification.from_pretrained(
            checkpoint.folder, dtype=classifier.network.dtype, attn_implementation="sdpa", local_files_only=True
        )
    pixels = torch.randint(0, 256, (batch_size, 3, *classifier.geometry.input_size), dtype=torch.uint8)
    runs: dict[str, Callable[[], Any]] = {"bare": partial(_bare, bare.to(chosen).eval(), classifier, pixels)}
    for method in (*FORWARD, *BACKWARD):
        runs[method] = partial(classifier.predict, pixels, MapPlan((method,)))
    # on a CPU the time of this process alone, whatever else the machine does
    timings = in_turn(runs, rounds, time.process_time if chosen == "cpu" else time.perf_counter)
    ratios = {name: timings.ratio(name, "bare") for name in runs}
    print(f"{model or 'ViT-B/16'}, {batch_size} x {pixels.shape[2]} pixels, {classifier.network.dtype}, {chosen}\n")
    print("| method | s a batch | of the bare forward | at most |\n|---|---|---|---|")
    for name, ratio in ratios.items():
        print(f"| {name} | {timings.median(name):.3f} | {ratio:.2f} | {_AT_MOST.get(name, '')} |")
    print(json.dumps(ratios))


def _random_vit_base(folder: Path) -> str:
    network: Any = ViTForImageClassification(ViTConfig(id2label={index: str(index) for index in range(1000)}))
    network.to(torch.bfloat16).save_pretrained(folder)
    ViTImageProcessorPil().save_pretrained(folder)
    return str(folder)


@torch.inference_mode()
def _bare(network: Any, classifier: Classifier, pixels: Tensor) -> Any:
    inputs = (pixels.to(network.device).float() - classifier.mean) * classifier.scale
    finer = classifier.interpolate_positions
    return network(pixel_values=inputs.to(network.dtype), interpolate_pos_encoding=finer).logits.cpu()


if __name__ == "__main__":
    method_costs()
