"""What a run did: for the caller, for the last line on stdout and for runs/<run_id>.json."""

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pipeline.results.names import record_files
from pipeline.storage.files import read_bytes
from pipeline.storage.location import Location

PROFILE = "profile"  # in the metadata of a part: its photos in numbers, see `pipeline.report.drift`
_MOST_PHOTOS = 0.5  # from this share on, unfamiliar photos are a warning
_PACKAGES = ("vitrollout", "torch", "transformers", "pillow", "pyarrow")


@dataclass(frozen=True)
class RunSummary:
    """The outcome of a run.

    Attributes:
        run_id: the run's name in the table and in runs/.
        input, out: absolute paths.
        found: image files in the input folder.
        done_before: of these, files with nothing to do.
        processed, ok, failed: files of this run.
        unreadable_folders: number of folders left out because they could not be listed.
        interrupted: ended by a signal; the next run does the rest.
        seconds: from start to end.
        images_per_second: processed over seconds.
        labels: photos of this run by label.
        decisions: photos of this run by decision (pass, review, reject); empty for a model without one.
        changes: differences from earlier runs, in sentences.
        seconds_by_stage: the main loop's own time.
        new: files found without a row.
        changed: files found with other bytes than in their row.
        gone: rows without a file, which was deleted or renamed.
        standing: files failed in earlier runs, no different since, and so not processed by this one.
        failed_again: of `failed`, files failed in earlier runs too.
        rejudged: rows of earlier runs judged again, as the model's decision has changed.
        left_out: pictures and folders left out of the walk, counted by rule.
        reviewed: photos of this run reviewed before, beside rows with another fingerprint.
        agreed: of these, photos with the reviewed label.
        contradicted: of these, photos with another label, whose review agreed with the model of its time.
        contradicted_photos: paths of the first of them.
        unfamiliar: photos of this run unlike those that the model learned from, as `count` and as `share` of the ok
            photos (0..1); None for a model without statistics of its training photos.
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
    decisions: Mapping[str, int] = field(default_factory=dict)
    changes: Sequence[str] = ()
    seconds_by_stage: Mapping[str, float] = field(default_factory=dict)
    new: int = 0
    changed: int = 0
    gone: int = 0
    standing: int = 0
    failed_again: int = 0
    rejudged: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    reviewed: int = 0
    agreed: int = 0
    contradicted: int = 0
    contradicted_photos: Sequence[str] = ()
    unfamiliar: Mapping[str, float] | None = None

    @property
    def exit_code(self) -> int:
        """0, or 3 if some files failed, now or before, or some folders could not be read."""
        return 3 if self.failed or self.standing or self.unreadable_folders else 0

    @property
    def mostly_unfamiliar(self) -> bool:
        """Whether half of the photos or more are unlike those that the model learned from."""
        return self.unfamiliar is not None and self.unfamiliar["share"] >= _MOST_PHOTOS

    def describe_unfamiliar(self) -> str | None:
        """Say in a sentence how many photos the model knows nothing like; None if it can't tell, or without photos."""
        if self.unfamiliar is None or not self.ok:
            return None
        unlike = "unlike those that this model learned from"
        if self.mostly_unfamiliar:
            return f"{self.unfamiliar['share']:.0%} of these photos are {unlike}"
        return f"{self.unfamiliar['count']} of {self.ok} photos are {unlike}"

    @property
    def left(self) -> int:
        """Photos left for another run."""
        return self.found - self.done_before - self.processed


@dataclass(frozen=True)
class RunRecord:
    """The content of runs/<run_id>.json: a summary, and the circumstances of the run.

    Attributes:
        summary: the outcome; its fields stand at the top level of the file.
        finished_at: ISO 8601, UTC.
        purpose: of the model, in words.
        precision, device: of the forward pass.
        fingerprint: the run's, see `pipeline.planning.fingerprint`.
        unreadable: reasons by folder.
        profile: numbers for comparing runs, see `pipeline.report.drift`.
        settings: all settings of the run.
        versions: of Python and the packages behind the numbers.
        engine: who worked on the shards: "one process", which held the folder's lock, or several.
        method_source: where the method in `settings` comes from: settings, the model's verdict, or the default.
    """

    summary: RunSummary
    finished_at: str
    unreadable: Mapping[str, str] = field(default_factory=dict)
    profile: Mapping[str, Any] | None = None
    purpose: str = ""
    precision: str = ""
    device: str = ""
    fingerprint: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str | None] = field(default_factory=dict)
    engine: str = "one process"
    method_source: str = "settings"

    def as_json(self) -> dict[str, Any]:
        """Return the content of the file."""
        content = asdict(self)
        summary: dict[str, Any] = content.pop("summary")
        return summary | content


def current_versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages behind the numbers; None for a package not installed."""
    return {"python": platform.python_version(), **{name: _package_version(name) for name in _PACKAGES}}


def current_time() -> str:
    """Return the time in ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def newest_run_records(out: Location) -> Iterator[RunRecord]:
    """Read the records of a results folder, newest run first; files of other programs are passed over."""
    return (record for file in reversed(record_files(out)) if (record := read_run_record(file)))


def read_run_record(file: Location) -> RunRecord | None:
    """Read one record; None for a file of another program."""
    return parse_run_record(read_bytes(file))


def parse_run_record(text: bytes) -> RunRecord | None:
    """Parse the content of a record's file; None for the content of another program's file."""
    try:
        content = json.loads(text)
        summary = RunSummary(**_take_fields(content, RunSummary))
        return RunRecord(summary, **_take_fields(content, RunRecord))
    except (ValueError, KeyError, TypeError):
        return None


def _take_fields(content: dict[str, Any], record: type[RunSummary | RunRecord]) -> dict[str, Any]:
    """Take a dataclass's fields from a JSON object. Fields with a default may be missing, as in old records."""
    names = [item.name for item in fields(record) if item.name != "summary"]
    required = {item.name for item in fields(record) if item.default is item.default_factory is MISSING}
    return {name: content[name] for name in names if name in content or name in required}


def _package_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # used from a checkout on the path, without installation
        return None
