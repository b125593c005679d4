"""The usual names of the class without a defect."""

GOOD_LABELS = ("ok", "good", "normal", "functional")


def is_good_label(label: str) -> bool:
    """Tell whether a label usually means "no defect"."""
    return label.lower() in GOOD_LABELS
