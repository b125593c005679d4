"""`evaluate --group similar`: photos that look alike to the model are one witness."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.evaluation.result import PredictedPhoto
from pipeline.labelled.similar_photos import cluster_similar, name_groups
from pipeline.labelled.splits import LabelledPhoto


def group_similar(predictions: Sequence[PredictedPhoto]) -> list[PredictedPhoto]:
    """Give readable photos that look alike one group, by the features of their predictions."""
    seen = [index for index, prediction in enumerate(predictions) if prediction.features is not None]
    if not seen:
        return list(predictions)
    features = np.stack([features for each in predictions if (features := each.features) is not None])
    groups = name_groups(cluster_similar(features), [predictions[index].photo.name for index in seen])
    group_of = dict(zip(seen, groups, strict=True))
    return [
        replace(each, photo=replace(each.photo, group=group_of.get(index)), features=None)
        for index, each in enumerate(predictions)
    ]


def copy_groups(photos: Sequence[LabelledPhoto], predictions: Sequence[PredictedPhoto]) -> list[LabelledPhoto]:
    """Give photos the groups of their predictions, by name."""
    group_of = {each.photo.name: each.photo.group for each in predictions}
    return [replace(photo, group=group_of.get(photo.name, photo.group)) for photo in photos]
