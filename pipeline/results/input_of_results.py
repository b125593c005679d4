"""The input that a results folder belongs to, and whether its deleted photos were pruned."""

import os

from pipeline.errors import ConfigError
from pipeline.results.names import part_files, run_id_of_part
from pipeline.results.parts import read_part_metadata
from pipeline.results.run_record import newest_run_records
from pipeline.storage.location import Location

PRUNED = "pruned"  # in the metadata of a part: rows of deleted photos have been dropped


def check_source(out: Location, source: str | Location) -> None:
    """Check that a results folder belongs to an input folder.

    Raises:
        ConfigError: it belongs to another one.
    """
    bound = input_folder_of_results(out)
    if bound is not None and bound != os.fspath(source):
        raise ConfigError(
            f"{out} holds results of {bound}, not of {source}; give another --out, or --rebind if the archive has moved"
        )


def input_folder_of_results(out: Location) -> str | None:
    """Return the input folder of the newest run: named in its record, or in the parts of a killed run."""
    newest = next(newest_run_records(out), None)
    parts = part_files(out)
    if parts and (newest is None or run_id_of_part(parts[-1]) > newest.summary.run_id):
        metadata = read_part_metadata(parts[-1])
        return os.fsdecode(metadata[b"input"]) if b"input" in metadata else None
    return newest.summary.input if newest else None


def was_pruned_since(out: Location, run_id: str) -> bool:
    """Tell whether a compaction after this run has dropped the rows of deleted photos."""
    later = [part for part in part_files(out) if run_id_of_part(part) > run_id]
    return any(PRUNED.encode() in read_part_metadata(part) for part in later)
