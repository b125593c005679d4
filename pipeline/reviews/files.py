"""The names of everything in OUT/reviews/.

<session>.jsonl      one person's decisions in one sitting, one writer a file
part-<name>.parquet  decisions of ended sittings, folded by `compact`
classes.json         the classes, in the order of their ids
splits.csv           the split of each group of photos
.lock                the lock of the classes
"""

import re
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from pipeline.storage.location import Location

REVIEWS = "reviews"
CLASSES_FILE = "classes.json"
SPLITS_FILE = "splits.csv"
REVIEW_COLUMNS = ("reviewed_label", "verdict", "agrees")  # beside those of the table, for users who ask for them

_SESSION_NAME = re.compile(r"\d{8}T\d{6}Z-[A-Za-z0-9_.-]*-[0-9a-f]{4}")
_LONGEST_WHO = 40


def new_session_name(who: str) -> str:
    """Name a new session after the current time (UTC), the person, and four random hex digits."""
    person = re.sub(r"[^A-Za-z0-9_.]+", "_", who)[:_LONGEST_WHO]
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{person}-{secrets.token_hex(2)}"


def new_folded_name() -> str:
    """Name a new file of folded sessions, unlike every earlier one: none is ever overwritten."""
    return f"part-{new_session_name('folded')}.parquet"


def session_files(out: Path) -> list[Path]:
    """List the sessions of a results folder, oldest first; other files are not ours."""
    return sorted(file for file in (out / REVIEWS).glob("*.jsonl") if _SESSION_NAME.fullmatch(file.stem))


def folded_files(out: Path) -> list[Path]:
    """List the files of folded sessions, oldest first."""
    files = (out / REVIEWS).glob("part-*.parquet")
    return sorted(file for file in files if _SESSION_NAME.fullmatch(file.stem.removeprefix("part-")))


class ReviewMark(NamedTuple):
    """Size and time of a file: the same ones, nothing new."""

    size: int
    mtime_ns: int


def review_marks(out: Location) -> dict[str, ReviewMark]:
    """Return the mark of each file with an effect on the truth, by its name; buckets hold no reviews."""
    marks: dict[str, ReviewMark] = {}
    if not isinstance(out, Path):
        return marks
    for file in (*session_files(out), *folded_files(out), out / REVIEWS / CLASSES_FILE):
        with suppress(FileNotFoundError):  # folded meanwhile
            status = file.stat()
            if status.st_size:  # an empty session says nothing yet
                marks[file.name] = ReviewMark(status.st_size, status.st_mtime_ns)
    return marks
