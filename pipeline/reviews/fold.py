"""Many files of ended sessions -> one Parquet file, for `compact`.

The new file is in place before the old ones are removed. A kill in between leaves records twice, and readers take each
id once.
"""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.atomic_files import atomic_write_path, flush_to_disk
from pipeline.reviews.files import REVIEWS, session_files
from pipeline.reviews.read import read_session
from pipeline.reviews.session import lock_session


def fold_sessions(out: Path) -> int:
    """Fold the sessions nobody writes to any more into one file; return their number.

    A session belongs to its writer as long as that process lives. On a disk without locks nobody can tell, and nothing
    is folded.

    Raises:
        StoreError: the disk is full or can't be written.
    """
    folder = out / REVIEWS
    held: list[int] = []
    ended: list[Path] = []
    try:
        for file in session_files(out):
            descriptor = os.open(file, os.O_RDWR)
            held.append(descriptor)
            if lock_session(descriptor):
                ended.append(file)
        if not ended:
            return 0
        table = pa.concat_tables([read_session(file) for file in ended])
        if len(table):
            with atomic_write_path(folder / f"part-{ended[-1].stem}.parquet", folder) as temporary:
                pq.write_table(table, temporary, compression="zstd")
        for file in ended:
            file.unlink()
        flush_to_disk(folder)
    finally:
        for descriptor in held:
            os.close(descriptor)
    return len(ended)
