"""A saved model, read back by others: by transformers alone, and by a run."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from pipeline.config import RunConfig
from pipeline.results.read import read_results
from pipeline.run import run


def compute_plain_logits(folder: Path, files):
    """Return the logits (n, classes) and the config of a model, by transformers alone."""
    network = AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    images = [Image.open(file).convert("RGB") for file in files]
    with torch.no_grad():
        return network(**processor(images, return_tensors="pt")).logits.numpy(), network.config


def compute_run_logits(folder: Path, photos: Path, out: Path, names):
    """Return the logits (n, classes) of the photos named, by `vitrollout run` over all photos."""
    run(RunConfig(input=photos, out=out, model=str(folder), precision="fp32", overlay_size="none", report=False))
    table = read_results(out).set_index("path").loc[list(names)]
    return np.stack(list(table["logits"]))
