"""OUT -> OUT/report.html, and the files beside it in OUT/report/.

The data files of each report have a folder of their own, named in its page. So an open page never sees half of the
next report.
"""

import math
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.atomic_files import cannot_write
from pipeline.folder_lock import FolderLock
from pipeline.records import UNFAMILIAR_FROM
from pipeline.report.archive import Archive, read_archive
from pipeline.report.drift import LOW_CONFIDENCE
from pipeline.report.findings import gather_findings
from pipeline.report.gallery_choice import MOST_SHOWN
from pipeline.report.gallery_files import build_data_files, build_map_file
from pipeline.results.input_of_results import input_folder_of_results
from pipeline.results.names import REPORT_DATA, REPORT_PAGE
from pipeline.results.report_age import date_report_before
from pipeline.reviews.files import review_marks
from pipeline.reviews.read import read_truths
from pipeline.reviews.truth import Truth
from pipeline.storage.files import list_files, read_bytes
from pipeline.storage.location import Location, ObjectUrl, is_url
from pipeline.storage.storage import open_storage

_DATA_NAME = re.compile(r"[0-9a-f]{12}")
_LOCK_SECONDS = 60.0  # to wait for another report


def write_report(out: Location, *, most_shown: int = MOST_SHOWN) -> Location:
    """Write the report of a results folder; return the page's path.

    Args:
        out: the results folder.
        most_shown: number of photos up to which the gallery shows all of them; of more, it shows a choice.

    Raises:
        ConfigError: it is not a results folder.
        StoreError: a part of the table or a file of reviews is damaged, or the report can't be written.
        FolderBusyError: another report of this folder is being written and does not finish in time.
    """
    reviews = review_marks(out)
    truths = read_truths(out)
    archive = read_archive(out, truths, most_shown=most_shown)
    if not isinstance(out, Path):
        _put_files(out, uuid.uuid4().hex[:12], archive, truths)
        return out / REPORT_PAGE
    folder = out / REPORT_DATA
    try:
        folder.mkdir(exist_ok=True)
        busy = f"another report is being written in {folder}; wait for it"
        with FolderLock(folder, busy=busy, seconds=_LOCK_SECONDS):
            data = folder / uuid.uuid4().hex[:12]
            _write_files(out, data, _build_files(out, archive, truths, data.name))
            date_report_before(out, reviews)
            for old in folder.iterdir():
                if old.is_dir() and old != data and _DATA_NAME.fullmatch(old.name):  # other folders are not ours
                    shutil.rmtree(old)
    except OSError as error:
        raise cannot_write(out / REPORT_PAGE, error) from error
    return out / REPORT_PAGE


def _put_files(out: ObjectUrl, data: str, archive: Archive, truths: Mapping[str, Truth]) -> None:
    """Write the files of a report into a store of objects, the page last; then remove those of the report before."""
    storage = open_storage(out)
    try:
        before = re.search(rf"{REPORT_DATA}/([0-9a-f]{{12}})/", read_bytes(out / REPORT_PAGE).decode())
    except FileNotFoundError:
        before = None
    for name, content in _build_files(out, archive, truths, data):
        storage.put(REPORT_PAGE if name == REPORT_PAGE else f"{REPORT_DATA}/{data}/{name}", content)
    if before:
        folder = f"{REPORT_DATA}/{before[1]}"
        storage.delete([f"{folder}/{entry.name}" for entry in list_files(out / folder)])


def _build_files(
    out: Location, archive: Archive, truths: Mapping[str, Truth], data: str
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files of a report, the page last."""
    yield from build_data_files(archive.gallery.frame, truths, out)
    if archive.gallery.map:
        yield build_map_file(archive.gallery.map)
    for name in ("report.js", "viewer.js", "map_legend.js", "map_view.js", "report.css"):
        yield name, (resources.files("pipeline.report") / "page" / name).read_bytes()
    yield REPORT_PAGE, _render_page(out, archive, truths, data).encode()


def _write_files(out: Path, data: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write the files of a report into a new folder; at last the page replaces that of the report before."""
    data.mkdir()
    try:
        for name, content in files:
            (data / name).write_bytes(content)
        os.replace(data / REPORT_PAGE, out / REPORT_PAGE)
    except BaseException:
        shutil.rmtree(data, ignore_errors=True)
        raise


def _render_page(out: Location, archive: Archive, truths: Mapping[str, Truth], data: str) -> str:
    environment = Environment(
        loader=PackageLoader("pipeline.report", "page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    source = input_folder_of_results(out)
    return environment.get_template("report.html.j2").render(
        findings=gather_findings(out, archive, truths),
        low_confidence=LOW_CONFIDENCE,
        unfamiliar_from=UNFAMILIAR_FROM,
        shows_defects=archive.gallery.frame["detections"].notna().any(),
        name=out.resolve().name if isinstance(out, Path) else str(out),
        photos_at=Path(source).as_uri() if source and not is_url(source) else "",
        data=f"{REPORT_DATA}/{data}",
        duration=_format_duration,
    )


def _format_duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
