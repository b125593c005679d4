"""Names of new classes, typed by a person."""

from pipeline.labelled.clean_label import clean_label

_LONGEST = 100


def clean_class_name(name: str) -> str:
    """Return a name without invisible differences.

    Raises:
        ValueError: it is empty, too long, or holds control characters.
    """
    name = clean_label(name)
    if not name or len(name) > _LONGEST or not name.isprintable():
        raise ValueError(f"{name[: 2 * _LONGEST]!r} is not a name of a class: 1 to {_LONGEST} printable letters")
    return name
