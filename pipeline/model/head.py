"""The classification head, as a checkpoint's config.json describes it: names of its outputs, and what they mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.labelled.clean_label import clean_label
from pipeline.records import Scoring


@dataclass(frozen=True)
class Head:
    """The classes of a checkpoint.

    Attributes:
        labels: class names by id, C of them.
        scoring: from logits to scores.
        is_binary: the network has one output z for two classes, `X` and `not X`, with the logits z and -z.
    """

    labels: tuple[str, ...]
    scoring: Scoring
    is_binary: bool


def read_head(config: Mapping[str, Any]) -> Head:
    """Read the head from a config.json, as transformers does.

    Raises:
        ValueError: the names don't fit the ids, or the outputs are no classes; with the next step.
    """
    names = _read_names(config)
    problem = config.get("problem_type")
    if problem == "regression":
        raise ValueError(
            "problem_type is regression: its outputs are measurements, not classes; use a classifier, or make one "
            "with vitrollout finetune"
        )
    if len(names) == 1:
        return Head((*names, f"not {names[0]}"), "sigmoid", is_binary=True)
    return Head(names, "sigmoid" if problem == "multi_label_classification" else "softmax", is_binary=False)


def has_sigmoid_scores(config: Mapping[str, Any]) -> bool:
    """Tell whether the scores are sigmoids; False for a config that is no classifier's."""
    try:
        return read_head(config).scoring == "sigmoid"
    except ValueError:
        return False


def _read_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    names = config.get("id2label")
    if names is None:
        count = config.get("num_labels", 2)
        if not isinstance(count, int) or not 1 <= count <= 10**6:
            raise ValueError(f"num_labels = {count!r} is no number of classes; correct it")
        return tuple(f"LABEL_{index}" for index in range(count))
    if not isinstance(names, dict) or not names:
        raise ValueError("id2label names no classes; write it as {'0': 'name', '1': 'name'}")
    try:
        name_of = {int(index): clean_label(str(name)) for index, name in names.items()}
        "".join(name_of.values()).encode()  # half a surrogate pair can't be written into a table
    except ValueError as error:
        raise ValueError(f"id2label: {error}; correct it") from None
    if sorted(name_of) != list(range(len(names))):
        ids = ", ".join(map(str, sorted(name_of)[:3]))
        raise ValueError(
            f"id2label has {len(names)} names with the ids {ids}, ...; number them from 0 to {len(names) - 1} in the "
            "order of the head's outputs"
        )
    return tuple(name_of[index] for index in range(len(names)))
