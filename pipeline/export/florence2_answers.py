"""What Florence-2 is asked about a photo and what it should answer, in the words of its own processor.

A box is four tokens `<loc_0>` to `<loc_999>` after its text. A photo without defects has an empty answer, decoded as no
boxes.
"""

from collections.abc import Sequence
from itertools import groupby
from string import Formatter
from typing import Literal

from pipeline.export.dataset import ExportBox
from pipeline.export.quantise import FLORENCE2_BINS, florence2_bins

Florence2Task = Literal["od", "dense", "grounding", "caption"]

TASK_TOKENS: dict[Florence2Task, str] = {
    "od": "<OD>",
    "dense": "<DENSE_REGION_CAPTION>",
    "grounding": "<CAPTION_TO_PHRASE_GROUNDING>",
    "caption": "<CAPTION>",
}
CAPTION_FIELDS = ("label", "where")

_SMALLEST_BINS = 2
_ROWS = ("upper", "middle", "lower")
_COLUMNS = ("left", "middle", "right")
_SINGLE_WORDS = {
    "middle middle": "centre",
    "upper middle": "top",
    "lower middle": "bottom",
    "middle left": "left",
    "middle right": "right",
}
# Phrases dropped from an answer by the post_processor_config of the published checkpoints.
_NEVER_GROUNDED = frozenset(
    "it I me mine you your yours he him his she her hers they them their theirs one oneself we us our ours its myself "
    "yourself himself herself itself ourselves yourselves themselves this that these those who whom whose which what "
    "all another any anybody anyone anything each everybody everyone everything few many nobody none several some "
    "somebody someone something image images the a an lots".split()
) | {"each other", "one another", "the image", "a group", "other objects", "a set"}


def describe_unholdable(text: str, task: Florence2Task = "od") -> str | None:
    """Say why Florence-2's decoder would not give this label back, or return None if it does."""
    if not text.strip():
        return "is empty"
    if text != text.strip():
        return "begins or ends with a blank"
    if not text.isascii():
        return "has characters other than ASCII, dropped by Florence-2"
    if not text.isprintable():
        return "has control characters"
    if "<" in text:
        return "has a <, where Florence-2 cuts labels"
    if task == "grounding" and ground_phrase(text) in _NEVER_GROUNDED:
        return f"gives the phrase {ground_phrase(text)!r}, never grounded by Florence-2"
    return None


def list_boxes(texts: Sequence[str], boxes: Sequence[ExportBox], width: int, height: int) -> str:
    """Return text and location of each box, without separators: the answer to `<OD>` and to dense captions."""
    bins = florence2_bins(boxes, width, height)
    return "".join(text + _location_tokens(row) for text, row in zip(texts, bins.tolist(), strict=True))


def ground_boxes(boxes: Sequence[ExportBox], width: int, height: int) -> str:
    """Return each class once, followed by the locations of all its boxes; boxes come ordered by class."""
    located = zip(boxes, florence2_bins(boxes, width, height).tolist(), strict=True)
    return "".join(
        ground_phrase(label) + "".join(_location_tokens(row) for _, row in group)
        for label, group in groupby(located, key=lambda pair: pair[0].label)
    )


def ground_caption(labels: Sequence[str]) -> str:
    """Return the caption to ground: `the open and the spur`."""
    return " and ".join(ground_phrase(label) for label in labels)


def ground_phrase(label: str) -> str:
    """Return the phrase for a class in a caption."""
    return f"the {label}"


def caption_boxes(template: str, boxes: Sequence[ExportBox], width: int, height: int) -> str:
    """Fill in the template for each box: `open at upper left, spur at centre`."""
    captions = (template.format(label=box.label, where=_place_of(box, width, height)) for box in boxes)
    return ", ".join(dict.fromkeys(captions))


def check_caption(template: str) -> str:
    """Return the template of captions.

    Raises:
        ValueError: it has other fields than {label} and {where}, or none.
    """
    fields = [field[1:] for field in Formatter().parse(template) if field[1] is not None]
    if not fields or set(fields) - {(name, "", None) for name in CAPTION_FIELDS}:
        raise ValueError("must name {label} or {where}, and nothing else in braces")
    return template


def count_small_boxes(boxes: Sequence[ExportBox], width: int, height: int) -> int:
    """Count the boxes under two bins wide or high, hardly located by Florence-2."""
    sides = [min((box.x1 - box.x0) / width, (box.y1 - box.y0) / height) for box in boxes]
    return sum(side * FLORENCE2_BINS < _SMALLEST_BINS for side in sides)


def _location_tokens(bins: Sequence[int]) -> str:
    return "".join(f"<loc_{each}>" for each in bins)


def _place_of(box: ExportBox, width: int, height: int) -> str:
    """Return the ninth of the photo with the centre of a box, in words."""
    row = min(2, int((box.y0 + box.y1) / 2 / height * 3))
    column = min(2, int((box.x0 + box.x1) / 2 / width * 3))
    words = f"{_ROWS[row]} {_COLUMNS[column]}"
    return _SINGLE_WORDS.get(words, words)
