"""`finetune --group similar`: photos that look alike to the starting model are one family."""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace

from pipeline.atomic_files import atomic_write_path
from pipeline.labelled.similar_photos import set_similar_groups
from pipeline.labelled.splits import LabelledPhoto
from pipeline.model.architecture import encoder_layers
from pipeline.training.backbone import build_classifier, build_processor
from pipeline.training.data import build_training_data
from pipeline.training.depth_features import embed_photos
from pipeline.training.device import TrainingDevice
from pipeline.training.folders import TrainingFolders
from pipeline.training.pixel_cache import decode_splits
from pipeline.training.recipe import Recipe

log = logging.getLogger(__name__)

_PART = "likeness"  # all photos, before they have splits


def group_by_likeness(
    photos: Sequence[LabelledPhoto], labels: Sequence[str], recipe: Recipe, folders: TrainingFolders
) -> list[LabelledPhoto]:
    """Set the group of each photo: its family by the features of the starting model; an unreadable one is alone.

    Args:
        photos: of all classes.
        labels: class names by id.
        recipe: input size, precision and seed.
        folders: the places of the training; a resumed one finds its groups here.

    Raises:
        DataError: no photo can be read.
        StoppedError: the training was told to stop.
    """
    file = folders.work / f"{_PART}.groups.json"
    if not file.is_file():
        processor = build_processor(folders.start, recipe.input_size)
        parts = decode_splits(
            [replace(photo, split=_PART) for photo in photos], {_PART: processor}, folders.work, folders.stop
        )
        model = build_classifier(
            folders.start, labels, input_size=recipe.input_size, blocks=None, seed=recipe.seed
        ).model
        device = TrainingDevice.choose(recipe.precision)
        batches = build_training_data(recipe, labels, parts, processor).evaluation_batches(_PART)
        depth = len(encoder_layers(model))
        features = embed_photos(model.to(device.name), batches, [depth], device, folders.stop)[0]
        grouped = set_similar_groups(parts[_PART].photos, features)
        with atomic_write_path(file, folders.work) as temporary:
            temporary.write_text(json.dumps({photo.name: photo.group for photo in grouped}))
    groups: dict[str, str] = json.loads(file.read_text())
    log.info("%d families of photos that look alike, of %d photos", len(set(groups.values())), len(groups))
    return [replace(photo, group=groups.get(photo.name, photo.name)) for photo in photos]
