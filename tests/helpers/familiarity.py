"""Statistics of training photos, written into a model's folder without a training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.maps.passes import MapPlan
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.familiarity import Familiarity, fit_familiarity
from pipeline.model.familiarity_file import write_familiarity
from pipeline.model.load import load_classifier
from pipeline.model.predictor import Predictor
from pipeline.photos.load_photo import model_pixels


def features_of(model: Path, photos: Sequence[Image.Image]) -> np.ndarray:
    """Compute the features of photos, (n, D), with a model on the CPU."""
    classifier = load_classifier(resolve_checkpoint(str(model)), device="cpu", precision="fp32")
    pixels = [model_pixels(np.asarray(photo), classifier.load_spec()) for photo in photos]
    return Predictor(classifier, MapPlan((), features=True), 8).predict(pixels).features


def save_familiarity(model: Path, photos: Sequence[Image.Image], **options) -> Familiarity:
    """Fit statistics on photos, every third one held out, and write them into the folder of the model."""
    features = features_of(model, photos)
    is_held_out = np.arange(len(photos)) % 3 == 2
    label_ids = np.arange(len(photos))[~is_held_out] % 2
    familiarity = fit_familiarity(features[~is_held_out], label_ids.tolist(), features[is_held_out], **options)
    write_familiarity(familiarity, model, resolve_checkpoint(str(model)).digest())
    return familiarity
