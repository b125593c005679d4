"""Reading all decisions back, also while people review."""

import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
import pyarrow.parquet as pq

from pipeline.errors import ConfigError, StoreError, one_line
from pipeline.reviews.classes import current_names, read_classes
from pipeline.reviews.files import REVIEWS, folded_files, session_files
from pipeline.reviews.record import LABELLED, REVIEW_SCHEMA, VERDICTS, parse_record
from pipeline.reviews.truth import Truth, find_standing, resolve_truths
from pipeline.storage.location import Location

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

_BLOCK_BYTES = 2**24  # parsed at once; the longest line must fit
_REQUIRED = ("id", "at", "who", "session", "path", "content_hash", "width", "height")
_ANSWERS = {(verdict, verdict in LABELLED) for verdict in VERDICTS} | {("withdrawn", True)}  # verdict, has a label


def read_reviews(out: str | Path) -> "pd.DataFrame":
    """Read every decision about the photos of a results folder, oldest first.

    Returns:
        One row per record, with the columns of `ReviewRecord`, and `stands`: false for a record replaced by a later
        one or taken back. Labels are those of the time, also of classes renamed since.

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


def read_truths(out: Location) -> dict[str, Truth]:
    """Read the truth of every reviewed photo, by content hash, with the current names of the classes.

    Raises:
        DataError: classes.json is damaged.
        StoreError: a file with records is damaged.
    """
    if not isinstance(out, Path) or not (out / REVIEWS).is_dir():  # nobody can review in a bucket
        return {}
    return resolve_truths(read_review_table(out), current_names(read_classes(out)))


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
                # sessions first: those folded after that are read twice, in the other order they could be missed
                sessions = {file: read_session_from(file, self._ends.get(file, 0)) for file in self._grown_sessions()}
                folded = {file: read_folded(file) for file in folded_files(self._out) if file not in self._folded}
                break
            except FileNotFoundError:
                continue  # folded meanwhile; the new file has its records
        self._ends.update((file, end) for file, (_, end) in sessions.items())
        self._folded.update(folded)
        tables = [*folded.values(), *(table for table, _ in sessions.values())]
        table = self._drop_known_ids(pa.concat_tables([pa.Table.from_batches([], REVIEW_SCHEMA), *tables]))
        return table.sort_by([("at", "ascending"), ("id", "ascending")])

    def _grown_sessions(self) -> list[Path]:
        return [file for file in session_files(self._out) if file.stat().st_size > self._ends.get(file, 0)]

    def _drop_known_ids(self, table: pa.Table) -> pa.Table:
        """Keep the first record of each id: a fold stopped half-way leaves its records in two files."""
        new = []
        for row, record_id in enumerate(table["id"].to_pylist()):
            if record_id not in self.ids:
                self.ids.add(record_id)
                new.append(row)
        return table if len(new) == len(table) else table.take(np.array(new, np.int64))


def read_session(file: Path) -> pa.Table:
    """Read one session. A last line without an end, from a kill in mid-write, is left out.

    Raises:
        StoreError: it can't be read.
        FileNotFoundError: it was folded meanwhile.
    """
    return read_session_from(file, 0)[0]


def read_session_from(file: Path, start: int) -> tuple[pa.Table, int]:
    """Read the whole lines of a session from a byte on; return their records, and the byte after the last of them.

    Raises:
        StoreError: it can't be read.
        FileNotFoundError: it was folded meanwhile.
    """
    try:
        with file.open("rb") as stream:
            stream.seek(start)
            content = stream.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(f"{file}: can't be read ({error.strerror}); make it readable") from None
    content = content[: content.rfind(b"\n") + 1]
    end = start + len(content)
    if not content:
        return pa.Table.from_batches([], REVIEW_SCHEMA), end
    parsing = pj.ParseOptions(explicit_schema=REVIEW_SCHEMA, unexpected_field_behavior="ignore")
    try:
        table = pj.read_json(io.BytesIO(content), pj.ReadOptions(block_size=_BLOCK_BYTES), parsing)
    except pa.ArrowException:
        return _read_good_lines(file, content), end
    return (table if _are_records(table) else _read_good_lines(file, content)), end


def read_folded(file: Path) -> pa.Table:
    """Read one file of folded sessions.

    Raises:
        StoreError: it is damaged.
        FileNotFoundError: it was folded again meanwhile.
    """
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            return parquet.read().select(REVIEW_SCHEMA.names).cast(REVIEW_SCHEMA)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise StoreError(
            f"{file}: is damaged ({one_line(error, 200)}); restore it from a backup, or move it away"
        ) from None


def drop_repeated_ids(table: pa.Table) -> pa.Table:
    """Keep the first record of each id: a fold stopped half-way leaves its records in two files."""
    ids = table["id"].to_pylist()
    if len(set(ids)) == len(ids):
        return table
    first = {record_id: row for row, record_id in reversed(list(enumerate(ids)))}
    return table.take(np.array(sorted(first.values())))


def _are_records(table: pa.Table) -> bool:
    """Tell whether each row is a whole record. pyarrow reads a missing field as null; `parse_record` refuses it."""
    boxes = pc.list_flatten(table["boxes"])
    # in Python: a comparison by pyarrow imports pandas
    answers = set(zip(table["verdict"].to_pylist(), table["label"].is_valid().to_pylist(), strict=True))
    return (
        answers <= _ANSWERS
        and not any(table[name].null_count for name in _REQUIRED)
        and not any(pc.struct_field(boxes, name).null_count for name in ("x0", "y0", "x1", "y1", "label"))
    )


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
