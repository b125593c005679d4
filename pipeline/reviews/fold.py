"""All files of ended sessions -> one Parquet file, for `compact`.

The new file is in place before the old ones are removed. A kill in between leaves records twice, and readers take each
id once; the next fold leaves one of each. No file is ever overwritten.
"""

import logging
import os
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.atomic_files import atomic_write_path, cannot_write, flush_to_disk
from pipeline.reviews.files import REVIEWS, folded_files, new_folded_name, session_files
from pipeline.reviews.read import drop_repeated_ids, read_folded, read_session
from pipeline.reviews.session import lock_session

log = logging.getLogger(__name__)


def fold_sessions(out: Path) -> int:
    """Fold the sessions nobody writes to any more, and everything folded before, into one file.

    A session belongs to its writer as long as that process lives. On a disk without locks nobody can tell, and nothing
    is folded. Nor is a file with damaged lines, which somebody may yet repair.

    Returns:
        The number of sessions folded.

    Raises:
        StoreError: the disk is full or can't be written, or an earlier folded file is damaged.
    """
    folder = out / REVIEWS
    with ExitStack() as held:
        sessions = {file: read_session(file) for file in session_files(out) if _hold_if_ended(file, held)}
        ended = [file for file, table in sessions.items() if _holds_all_lines(table, file)]
        if not ended:
            return 0
        earlier = folded_files(out)
        table = pa.concat_tables([read_folded(file) for file in earlier] + [sessions[file] for file in ended])
        if len(table):
            with atomic_write_path(folder / new_folded_name(), folder) as temporary:
                pq.write_table(drop_repeated_ids(table), temporary, compression="zstd", write_page_checksum=True)
        try:
            for file in (*earlier, *ended):
                file.unlink()
            flush_to_disk(folder)
        except OSError as error:
            raise cannot_write(folder, error) from error
    return len(ended)


def _hold_if_ended(file: Path, held: ExitStack) -> bool:
    """Lock a session until `held` closes; return False for a session in use, or one of another user."""
    try:
        descriptor = os.open(file, os.O_RDWR)  # locks on network disks need a file open for writing
    except OSError as error:
        log.warning("%s is not folded: %s", file, error.strerror)
        return False
    held.callback(os.close, descriptor)
    return lock_session(descriptor)


def _holds_all_lines(table: pa.Table, file: Path) -> bool:
    """Tell whether a session was read without leaving out damaged lines. A half line at its end was never a record."""
    return len(table) == file.read_bytes().count(b"\n")
