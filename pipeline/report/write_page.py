"""OUT -> OUT/report.html, and the files beside it in OUT/report/.

The data files of each report have a folder of their own, named in its page. So an open page never sees half of the
next report.
"""

import math
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.atomic_files import cannot_write
from pipeline.folder_lock import FolderLock
from pipeline.report.drift import LOW_CONFIDENCE
from pipeline.report.findings import gather_findings
from pipeline.report.gallery_files import COLUMNS, write_data_files
from pipeline.results.folder import input_folder_of_results
from pipeline.results.names import REPORT_DATA, REPORT_PAGE
from pipeline.results.read import read_results
from pipeline.results.report_age import date_report_before
from pipeline.reviews.files import review_marks
from pipeline.reviews.read import read_truths
from pipeline.reviews.truth import Truth

_DATA_NAME = re.compile(r"[0-9a-f]{12}")
_LOCK_SECONDS = 60.0  # to wait for another report


def write_report(out: Path) -> Path:
    """Write the report of a results folder; return the page's path.

    Raises:
        ConfigError: it is not a results folder.
        StoreError: a part of the table or a file of reviews is damaged, or the report can't be written.
        FolderBusyError: another report of this folder is being written and does not finish in time.
    """
    reviews = review_marks(out)
    frame, truths = read_results(out, COLUMNS), read_truths(out)
    folder = out / REPORT_DATA
    try:
        folder.mkdir(exist_ok=True)
        busy = f"another report is being written in {folder}; wait for it"
        with FolderLock(folder, busy=busy, seconds=_LOCK_SECONDS):
            data = folder / uuid.uuid4().hex[:12]
            data.mkdir()
            try:
                write_data_files(frame, truths, out, data)
                for name in ("report.js", "report.css"):
                    content = (resources.files("pipeline.report") / "page" / name).read_bytes()
                    (data / name).write_bytes(content)
                (data / REPORT_PAGE).write_text(_render_page(out, frame, truths, data.name), encoding="utf-8")
                os.replace(data / REPORT_PAGE, out / REPORT_PAGE)
                date_report_before(out, reviews)
            except BaseException:
                shutil.rmtree(data, ignore_errors=True)
                raise
            for old in folder.iterdir():
                if old.is_dir() and old != data and _DATA_NAME.fullmatch(old.name):  # other folders are not ours
                    shutil.rmtree(old)
    except OSError as error:
        raise cannot_write(out / REPORT_PAGE, error) from error
    return out / REPORT_PAGE


def _render_page(out: Path, frame: pd.DataFrame, truths: Mapping[str, Truth], data: str) -> str:
    environment = Environment(
        loader=PackageLoader("pipeline.report", "page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    source = input_folder_of_results(out)
    return environment.get_template("report.html.j2").render(
        findings=gather_findings(out, frame, truths),
        low_confidence=LOW_CONFIDENCE,
        name=out.resolve().name,
        photos_at=Path(source).as_uri() if source else "",
        data=f"{REPORT_DATA}/{data}",
        duration=_format_duration,
    )


def _format_duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
