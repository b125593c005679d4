"""Whole runs beside the bare model and beside other people's programs, on the same photos."""

import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from jobs.benchmarks.cam_peers import installed_peers
from jobs.benchmarks.materials import VIT_B_16, VIT_L_32, load_network, save_checkpoint, save_photos
from jobs.benchmarks.peers import (
    article_loop,
    best_precision,
    eager_batches_loop,
    read_photos,
    transformers_pipeline_loop,
)
from jobs.benchmarks.timing import Figure, time_in_turn
from pipeline.config import RunConfig
from pipeline.model.open import open_model
from pipeline.run import run

_LARGE = (4000, 3000)  # 12 megapixels


def measure(folder: Path, rounds: int) -> list[Figure]:
    """Measure our runs beside the bare forward pass, the article's loop, and the installed peers."""
    base, large = save_checkpoint(VIT_B_16, folder), save_checkpoint(VIT_L_32, folder)
    small_photos = save_photos(folder / "photos-300", 96, (300, 300), ".png")
    large_photos = save_photos(folder / "photos-12mp", 48, _LARGE, ".jpg")
    ours_base, ours_large = our_loop(folder, base, large_photos), our_loop(folder, large, large_photos)

    small = time_in_turn({"run": our_loop(folder, base, small_photos), "bare": bare_loop(base, small_photos)}, rounds)
    article = time_in_turn({"ours": ours_large, "article": article_loop(folder, large, large_photos)}, rounds)
    labels = time_in_turn({"ours": ours_base, "pipeline": transformers_pipeline_loop(base, large_photos)}, rounds)
    # the slow peers take part in a short trial only
    trial_peers, missing = _build_peers(folder, base, save_photos(folder / "photos-12mp-some", 4, _LARGE, ".jpg"))
    trial = time_in_turn(trial_peers, 1)
    best_peer = min(trial_peers, key=trial.median)
    peers, _ = _build_peers(folder, base, large_photos)
    maps = time_in_turn({"ours": ours_base, best_peer: peers[best_peer]}, rounds)
    return [
        Figure(
            "a whole run on 300x300 photos with overlays, ViT-B/16 / bare forward of the same photos",
            small.ratio("run", "bare"), 1.10, detail=small.format_medians(),
        ),
        Figure(
            "the article's loop / ours, 12-megapixel photos, ViT-L/32-384",
            article.ratio("article", "ours"), 8, at_most=False, detail=article.format_medians(),
        ),
        Figure(
            "`transformers.pipeline` without maps, its best batch size / ours with maps, table and overlays, "
            "12-megapixel photos, ViT-B/16",
            labels.ratio("pipeline", "ours"), 1.7, at_most=False, detail=labels.format_medians(),
        ),
        Figure(
            f"the best peer with maps ({best_peer}) / ours, 12-megapixel photos, ViT-B/16",
            maps.ratio(best_peer, "ours"), 3, at_most=False,
            detail="; ".join([maps.format_medians(), f"of 4 photos {trial.format_medians()}", *missing]),
        ),
    ]  # fmt: skip


def our_loop(folder: Path, checkpoint: Path, photos: Path) -> Callable[[], None]:
    """Build the loop of a run: decode, maps, overlays, thumbnails and table; the model is loaded once, like theirs."""
    config = RunConfig(input=photos, out=folder / "unused", model=str(checkpoint), report=False, device="cpu")
    classifier = open_model(config).load()

    def loop() -> None:
        out = folder / f"run-{time.monotonic_ns()}"
        with mock.patch("pipeline.model.load.load_classifier", return_value=classifier):
            run(config.model_copy(update={"out": out}))

    return loop


def bare_loop(checkpoint: Path, photos: Path) -> Callable[[], None]:
    """Build the loop of the model alone, over the photos' pixels in memory, in batches of eight."""
    network = load_network(checkpoint, "sdpa", best_precision())
    size = network.config.image_size
    pixels = [np.asarray(image.resize((size, size))) for image in read_photos(photos)]
    inputs = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).to(network.dtype) / 255  # (n, 3, H, W)

    @torch.inference_mode()
    def loop() -> None:
        for batch in inputs.chunk(max(1, len(inputs) // 8)):
            network(pixel_values=batch)

    return loop


def _build_peers(folder: Path, checkpoint: Path, photos: Path) -> tuple[dict[str, Callable[[], None]], list[str]]:
    """Build the loop of each peer with maps of a ViT-B/16; return a reason for each missing one, too."""
    loops, missing = installed_peers(VIT_B_16, photos, folder)
    return {**loops, "transformers eager": eager_batches_loop(folder, checkpoint, photos)}, missing
