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
    return ReviewReader(out).read_new()


class ReviewReader:
    """Reads the decisions of a results folder, and later only those made since.

    Attributes:
        ids: of all records read so far. A record with an id added by others is left out of later reads.
    """

    def __init__(self, out: Path) -> None:
        """Remember the folder; nothing is read yet."""
        self.ids: set[str] = set()
        self._out = out
        self._ends: dict[Path, int] = {}  # bytes read of each session
        self._folded: set[Path] = set()

    def read_new(self) -> pa.Table:
        """Read the records since the last call as an Arrow table of `REVIEW_SCHEMA`, each id once, ordered by time.

        Raises:
            StoreError: a file is damaged.
        """
        while True:
            try:
                folded = {file: _read_folded(file) for file in folded_files(self._out) if file not in self._folded}
                sessions = {file: read_session_from(file, self._ends.get(file, 0)) for file in self._grown_sessions()}
                break
            except FileNotFoundError:
                continue  # folded meanwhile; the folded file has its records
        self._folded.update(folded)
        self._ends.update((file, end) for file, (_, end) in sessions.items())
        tables = [*folded.values(), *(table for table, _ in sessions.values())]
        table = self._drop_known_ids(pa.concat_tables([REVIEW_SCHEMA.empty_table(), *tables]))
        return table.sort_by([("at", "ascending"), ("id", "ascending")])

    def _grown_sessions(self) -> list[Path]:
        return [file for file in session_files(self._out) if file.stat().st_size > self._ends.get(file, 0)]

    def _drop_known_ids(self, table: pa.Table) -> pa.Table:
        """Keep the first record of each id: a fold stopped half-way leaves its records in two files."""
        is_new = []
        for record_id in table["id"].to_pylist():
            is_new.append(record_id not in self.ids)
            self.ids.add(record_id)
        return table if all(is_new) else table.filter(pa.array(is_new, pa.bool_()))


def read_session(file: Path) -> pa.Table:
    """Read one session. A last line without an end, from a kill in mid-write, is left out.

    Raises:
        FileNotFoundError: it was folded meanwhile.
    """
    return read_session_from(file, 0)[0]


def read_session_from(file: Path, start: int) -> tuple[pa.Table, int]:
    """Read the whole lines of a session from a byte on; return their records, and the byte after the last of them.

    Raises:
        FileNotFoundError: it was folded meanwhile.
    """
    with file.open("rb") as stream:
        stream.seek(start)
        content = stream.read()
    content = content[: content.rfind(b"\n") + 1]
    end = start + len(content)
    if not content:
        return REVIEW_SCHEMA.empty_table(), end
    parsing = pj.ParseOptions(explicit_schema=REVIEW_SCHEMA, unexpected_field_behavior="ignore")
    try:
        return pj.read_json(io.BytesIO(content), pj.ReadOptions(block_size=_BLOCK_BYTES), parsing), end
    except pa.ArrowException:
        return _read_good_lines(file, content), end


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
