"""Labels as read from folders, CSVs and checkpoints: without invisible differences."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

# Blanks, and characters without a picture: zero-width spaces and joiners, direction marks, byte order marks.
_INVISIBLE_ENDS = re.compile(r"^[\s\u200b-\u200f\u2060\ufeff]+|[\s\u200b-\u200f\u2060\ufeff]+$")


def clean_label(text: str) -> str:
    """Return a label without blanks and invisible characters at its ends, in the composed Unicode form (NFC)."""
    return unicodedata.normalize("NFC", _INVISIBLE_ENDS.sub("", text))


def group_by_label(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the names of each cleaned label, for labels with several names."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[clean_label(name)].append(name)
    return {label: group for label, group in groups.items() if len(group) > 1}


def group_by_case(labels: Iterable[str]) -> list[list[str]]:
    """Return the groups of labels with no difference but upper and lower case."""
    groups: dict[str, list[str]] = defaultdict(list)
    for label in sorted(set(labels)):
        groups[label.casefold()].append(label)
    return [group for group in groups.values() if len(group) > 1]
