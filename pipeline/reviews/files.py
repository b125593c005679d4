"""The names of everything in OUT/reviews/.

<session>.jsonl         one person's decisions in one sitting, one writer a file
part-<session>.parquet  folded decisions of ended sittings
classes.json            the classes, in the order of their ids
splits.csv              the split of each group of photos
"""

import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

REVIEWS = "reviews"
CLASSES_FILE = "classes.json"
SPLITS_FILE = "splits.csv"

_SESSION_NAME = re.compile(r"\d{8}T\d{6}Z-[A-Za-z0-9_.-]*-[0-9a-f]{4}")
_LONGEST_WHO = 40


def new_session_name(who: str) -> str:
    """Name a new session after the current time (UTC), the person, and four random hex digits."""
    person = re.sub(r"[^A-Za-z0-9_.]+", "_", who)[:_LONGEST_WHO]
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{person}-{secrets.token_hex(2)}"


def session_files(out: Path) -> list[Path]:
    """List the sessions of a results folder, oldest first; other files are not ours."""
    return sorted(file for file in (out / REVIEWS).glob("*.jsonl") if _SESSION_NAME.fullmatch(file.stem))


def folded_files(out: Path) -> list[Path]:
    """List the files of folded sessions, oldest first."""
    names = (out / REVIEWS).glob("part-*.parquet")
    return sorted(file for file in names if _SESSION_NAME.fullmatch(file.stem.removeprefix("part-")))
