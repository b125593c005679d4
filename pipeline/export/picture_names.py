"""Names of exported pictures: unique across folders, plain everywhere, and the same in every round."""

import re
from collections import Counter
from collections.abc import Sequence

_LONGEST_STEM = 80
_SHORT_HASH = 8


def name_pictures(photos: Sequence[tuple[str, str, str]]) -> list[str]:
    """Name pictures `<stem>-<start of the content hash>.<ext>`, the stem with plain characters alone.

    Two names different in case alone, or not at all, get the whole hash.

    Args:
        photos: path, content hash and extension of each; the hashes differ.
    """
    short = [_format_name(path, content_hash[:_SHORT_HASH], extension) for path, content_hash, extension in photos]
    # by stem: an annotation file has the name of its picture without the extension
    counts = Counter(name.rpartition(".")[0].lower() for name in short)
    return [
        name if counts[name.rpartition(".")[0].lower()] == 1 else _format_name(path, content_hash, extension)
        for name, (path, content_hash, extension) in zip(short, photos, strict=True)
    ]


def _format_name(path: str, digits: str, extension: str) -> str:
    name = path.rpartition("/")[2]
    stem = name.rpartition(".")[0] or name
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", stem).strip("._-")[:_LONGEST_STEM]
    return f"{plain or 'photo'}-{digits}{extension}"
