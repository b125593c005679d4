"""Reading all decisions back, also while people review."""

import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from pipeline.errors import ConfigError, StoreError, one_line
from pipeline.reviews.files import folded_files, session_files
from pipeline.reviews.record import REVIEW_SCHEMA, parse_record
from pipeline.reviews.truth import find_standing

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

_BLOCK_BYTES = 2**24  # parsed at once; the longest line must fit


def read_reviews(out: str | Path) -> "pd.DataFrame":
    """Read every decision about the photos of a results folder, oldest first.

    Returns:
        One row per record, with the columns of `ReviewRecord`, and `stands`: false for a record replaced by a later
        one or taken back.

    Raises:
        ConfigError: there is no such folder.
        StoreError: a file is damaged.
    """
    if not Path(out).is_dir():
        raise ConfigError(f"{out}: no such folder; name the --out of a run")
    table = read_review_table(Path(out))
    standing = find_standing(table)
    stands = pa.array([record_id in standing for record_id in table["id"].to_pylist()], pa.bool_())
    frame: pd.DataFrame = table.append_column("stands", stands).to_pandas()
    return frame


def read_review_table(out: Path) -> pa.Table:
    """Read every record as an Arrow table of `REVIEW_SCHEMA`, each id once, ordered by time.

    Raises:
        StoreError: a file is damaged.
    """
    while True:
        try:
            tables = [_read_folded(file) for file in folded_files(out)]
            tables += [read_session(file) for file in session_files(out)]
            break
        except FileNotFoundError:
            continue  # folded meanwhile; the folded file has its records
    table = pa.concat_tables([REVIEW_SCHEMA.empty_table(), *tables])
    return _drop_repeated_ids(table).sort_by([("at", "ascending"), ("id", "ascending")])


def read_session(file: Path) -> pa.Table:
    """Read one session. A last line without an end, from a kill in mid-write, is left out.

    Raises:
        FileNotFoundError: it was folded meanwhile.
    """
    content = file.read_bytes()
    content = content[: content.rfind(b"\n") + 1]
    if not content:
        return REVIEW_SCHEMA.empty_table()
    parsing = pj.ParseOptions(explicit_schema=REVIEW_SCHEMA, unexpected_field_behavior="ignore")
    try:
        return pj.read_json(io.BytesIO(content), pj.ReadOptions(block_size=_BLOCK_BYTES), parsing)
    except pa.ArrowException:
        return _read_good_lines(file, content)


def _read_good_lines(file: Path, content: bytes) -> pa.Table:
    """Read a session line by line; lines damaged or changed by hand are named and left out."""
    rows = []
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            record = parse_record(line)
        except ValueError as error:
            log.warning("%s: line %d is not a record and is left out (%s)", file, number, one_line(error, 200))
            continue
        rows.append({**vars(record), "boxes": [vars(box) for box in record.boxes]})
    return pa.Table.from_pylist(rows, REVIEW_SCHEMA)


def _read_folded(file: Path) -> pa.Table:
    try:
        return pq.read_table(file, schema=REVIEW_SCHEMA)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise StoreError(
            f"{file}: is damaged ({one_line(error, 200)}); restore it from a backup, or move it away"
        ) from None


def _drop_repeated_ids(table: pa.Table) -> pa.Table:
    """Keep the first record of each id: a fold stopped half-way leaves its records in two files."""
    ids = table["id"].to_pylist()
    if len(set(ids)) == len(ids):
        return table
    first = {record_id: row for row, record_id in reversed(list(enumerate(ids)))}
    return table.take(pa.array(sorted(first.values())))
