"""The usual names of the class without a defect."""

from collections.abc import Sequence

GOOD_LABELS = ("ok", "good", "normal", "functional")


def is_good_label(label: str) -> bool:
    """Tell whether a label usually means "no defect"."""
    return label.lower() in GOOD_LABELS


def tells_defects(labels: Sequence[str]) -> bool:
    """Tell whether some of the classes are good, and others defects."""
    return len(set(map(is_good_label, labels))) == 2
