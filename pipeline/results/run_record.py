"""What a run did: for the caller, for the last line on stdout and for runs/<run_id>.json."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pipeline.config import RunConfig


@dataclass(frozen=True)
class RunSummary:
    """What a run did.

    Attributes:
        run_id: the run's name in the table and in runs/.
        input, out: absolute paths.
        found: image files in the input folder.
        done_before: of these, how many needed nothing.
        processed, ok, failed: files of this run.
        unreadable_folders: folders that could not be listed.
        interrupted: ended by a signal; the rest is left for the next run.
        seconds: from start to end.
        images_per_second: processed over seconds.
        labels: photos of this run by label.
        changes: how this run differs from the ones before, in sentences.
        seconds_by_stage: where the main loop's own time went.
    """

    run_id: str
    input: str
    out: str
    found: int
    done_before: int
    processed: int
    ok: int
    failed: int
    unreadable_folders: int
    interrupted: bool
    seconds: float
    images_per_second: float
    labels: Mapping[str, int] = field(default_factory=dict)
    changes: Sequence[str] = ()
    seconds_by_stage: Mapping[str, float] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0, or 3 where some files failed or some folders could not be read."""
        return 3 if self.failed or self.unreadable_folders else 0


def run_record(summary: RunSummary, config: RunConfig, **details: Any) -> dict[str, Any]:
    """The content of runs/<run_id>.json: the summary, all settings, details and versions."""
    return {
        **asdict(summary),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **details,
        "settings": config.model_dump(mode="json"),
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in ("vitrollout", "torch", "transformers", "pillow", "pyarrow")},
        },
    }


def photos_left(record: Mapping[str, Any]) -> int:
    """How many photos a run left for another one, by its record."""
    left: int = record["found"] - record["done_before"] - record["processed"]
    return left


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # used from a checkout that is on the path but not installed
        return None
