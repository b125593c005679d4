"""Whole runs: over the bare model on the same photos, and over what people use instead."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jobs.benchmarks.cam_peers import installed_peers
from jobs.benchmarks.materials import VIT_B_16, VIT_L_32, save_checkpoint, save_photos
from jobs.benchmarks.peers import (
    article_loop,
    best_precision,
    eager_batches,
    load_network,
    opened,
    transformers_pipeline,
)
from jobs.benchmarks.timing import Figure, in_turn

_LARGE = (4000, 3000)  # 12 megapixels


def measure(folder: Path, rounds: int) -> list[Figure]:
    """Our runs against the bare forward pass, the article's loop, and peers that are installed."""
    base = save_checkpoint(VIT_B_16, folder / "ViT-B-16-224")
    large = save_checkpoint(VIT_L_32, folder / "ViT-L-32-384")
    small_photos = save_photos(folder / "photos-300", 96, (300, 300), ".png")
    large_photos = save_photos(folder / "photos-12mp", 48, _LARGE, ".jpg")
    ours_base, ours_large = our_run(folder, base, large_photos), our_run(folder, large, large_photos)

    small = in_turn({"run": our_run(folder, base, small_photos), "bare": bare_forward(base, small_photos)}, rounds)
    article = in_turn({"ours": ours_large, "article": article_loop(folder, large, large_photos)}, rounds)
    labels = in_turn({"ours": ours_base, "pipeline": transformers_pipeline(base, large_photos)}, rounds)
    some, missing = _peers(folder, base, save_photos(folder / "photos-12mp-some", 4, _LARGE, ".jpg"))
    trial = in_turn(some, 1)
    best_peer = min(some, key=trial.median)
    peers, _ = _peers(folder, base, large_photos)
    maps = in_turn({"ours": ours_base, best_peer: peers[best_peer]}, rounds)
    return [
        Figure(
            "a whole run on 300x300 photos with overlays, ViT-B/16 / bare forward of the same photos",
            small.ratio("run", "bare"), 1.15, detail=small.describe(),
        ),
        Figure(
            "the article's loop / ours, 12-megapixel photos, ViT-L/32-384",
            article.ratio("article", "ours"), 6, at_most=False, detail=article.describe(),
        ),
        Figure(
            "`transformers.pipeline` without maps, its best batch size / ours with maps, table and overlays, "
            "12-megapixel photos, ViT-B/16",
            labels.ratio("pipeline", "ours"), 1, at_most=False, detail=labels.describe(),
        ),
        Figure(
            f"the best peer that draws maps ({best_peer}) / ours, 12-megapixel photos, ViT-B/16",
            maps.ratio(best_peer, "ours"), 3, at_most=False,
            detail="; ".join([maps.describe(), f"of 4 photos {trial.describe()}", *missing]),
        ),
    ]  # fmt: skip


def _peers(folder: Path, checkpoint: Path, photos: Path) -> tuple[dict[str, Callable[[], None]], list[str]]:
    """The loops of all that draw maps with a ViT-B/16, and why others are missing."""
    loops, missing = installed_peers(VIT_B_16, photos, folder)
    return {**loops, "transformers eager": eager_batches(folder, checkpoint, photos)}, missing


def our_run(folder: Path, checkpoint: Path, photos: Path) -> Callable[[], None]:
    """The loop of a run, model loaded once as for the others: decode, maps, overlays, thumbnails and table."""
    from unittest import mock

    import pipeline
    from pipeline.model import classifier as model
    from pipeline.model.checkpoint import resolve_checkpoint

    config = pipeline.RunConfig(input=photos, out=folder / "unused", model=str(checkpoint), report=False, device="cpu")
    classifier = model.load_classifier(resolve_checkpoint(str(checkpoint)), device="cpu", precision=best_precision())

    def run() -> None:
        out = folder / f"run-{time.monotonic_ns()}"
        with mock.patch.object(model, "load_classifier", return_value=classifier):
            pipeline.run(config.model_copy(update={"out": out}))

    return run


def bare_forward(checkpoint: Path, photos: Path) -> Callable[[], None]:
    """The model alone, on the photos' pixels in memory, in batches of eight."""
    import torch

    network = load_network(checkpoint, "sdpa", best_precision())
    size = network.config.image_size
    pixels = [np.asarray(image.resize((size, size))) for image in opened(photos)]
    inputs = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).to(network.dtype) / 255

    @torch.inference_mode()
    def forward() -> None:
        for batch in inputs.chunk(max(1, len(inputs) // 8)):
            network(pixel_values=batch)

    return forward
