"""Whether brightness compares photos: overlays drawn on one scale for all, or each photo on its own."""

from pipeline.decision import without_decision
from pipeline.results.names import MODEL_SCALE, RUN_SCALE, RUNS
from pipeline.results.run_record import RunRecord
from pipeline.storage.files import read_bytes
from pipeline.storage.location import Location


def has_shared_scale(out: Location, run: RunRecord) -> bool:
    """Tell whether a run drew its overlays on one scale for all: a number, or a span kept beside the records.

    Args:
        out: the results folder.
        run: its record.
    """
    scale = run.settings.get("scale")
    if scale is None or scale == "photo":
        return False
    if not isinstance(scale, str):
        return True
    suffix = RUN_SCALE if scale == "run" else MODEL_SCALE
    try:
        read_bytes(out / RUNS / f"{without_decision(run.fingerprint)}{suffix}")
    except FileNotFoundError:
        return False
    return True
