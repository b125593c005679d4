"""The classes of a new model: those of the starting model keep their ids, and new ones follow."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.labelled.csv_table import list_some
from pipeline.labelled.splits import LabelledPhoto, labels_of

log = logging.getLogger(__name__)


def choose_classes(
    start: Mapping[str, Any], photos: Sequence[LabelledPhoto], order: Sequence[str], *, keep_unseen: bool
) -> list[str]:
    """Choose the classes by id.

    The classes of the starting model come first if all of them have photos. With `keep_unseen`, one with photos is
    enough: the others stay, with a warning.

    Args:
        start: config.json of the starting model.
        photos: all photos.
        order: names in the order of their ids, for new classes; others follow in alphabetical order.
        keep_unseen: keep classes without photos.
    """
    found = labels_of(photos)
    known = read_class_names(start)
    unseen = [label for label in known if label not in found]
    if len(unseen) == len(known) or (unseen and not keep_unseen):
        known = ()
    elif unseen:
        log.warning(
            "no photos of %s, classes of the starting model: they stay, and the new model may forget them; add photos",
            list_some(map(repr, unseen)),
        )
    added = [label for label in dict.fromkeys([*order, *found]) if label in found and label not in known]
    return [*known, *added]


def read_class_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Read the class names of a classifier by id; none for other models, and for classes that can't be told apart."""
    is_classifier = any("ImageClassification" in str(name) for name in config.get("architectures") or [])
    by_id = config.get("id2label")
    if not is_classifier or not isinstance(by_id, dict):
        return ()
    names = {int(label_id): str(name) for label_id, name in by_id.items()}
    is_numbered = sorted(names) == list(range(len(names)))
    return tuple(names[label_id] for label_id in sorted(names)) if is_numbered and _are_unique(names.values()) else ()


def _are_unique(names: Any) -> bool:
    return len(set(names)) == len(names)
