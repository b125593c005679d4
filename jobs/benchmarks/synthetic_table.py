"""Tables of any number of made-up photos, written without a row object each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.decision import OUTCOMES
from pipeline.records import Floats
from pipeline.results.folder import ResultsFolder
from pipeline.results.schema import SCHEMA

_TOP = 5
_ROWS_PER_PART = 10_000
_DECIDED = (0.3, 0.4)  # below: reject, review; above: pass

Numbers = npt.NDArray[np.int64]


def write_synthetic_run(out: Path, numbers: range, *, labels: int = 7, failed_share: float = 0.001) -> str:
    """Write one run over photos with these numbers, and return its id. The same number has the same path."""
    random = np.random.default_rng(numbers.start)
    names = [f"label {number}" for number in range(labels)]
    with ResultsFolder(out, out / "photos") as results:
        for start in range(numbers.start, numbers.stop, _ROWS_PER_PART):
            rows = np.arange(start, min(numbers.stop, start + _ROWS_PER_PART))
            scores = random.dirichlet(np.full(labels, 0.2), len(rows)).astype(np.float32)
            is_failed = random.random(len(rows)) < failed_share
            results.write_part(build_synthetic_part(rows, names, scores, is_failed, results.run_id))
        return results.run_id


def build_synthetic_part(
    numbers: Numbers, labels: Sequence[str], scores: Floats, is_failed: npt.NDArray[np.bool_], run_id: str
) -> pa.Table:
    """Build the rows of photos by their numbers and probabilities."""
    count, ok = len(numbers), pa.array(~is_failed)
    digits = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), 8, "0")
    path = _join_texts("line ", numbers % 9, "/2026-", 1 + numbers % 12, "/photo-", digits, ".png")
    constants = {"file_bytes": 1_000_000, "model": "bundled", "method": "rollout", "fingerprint": "f", "run_id": run_id}
    of_ok = _build_predictions(labels, scores) | {
        "width": pa.repeat(4000, count),
        "height": pa.repeat(3000, count),
        "overlay": _join_texts("overlays/", path, ".png"),
    }
    columns = {
        "path": path,
        "content_hash": pa.array(draw_hashes(numbers)),
        "mtime": pa.array(numbers).cast(pa.timestamp("ns", tz="UTC")),
        "status": pc.if_else(ok, "ok", "failed"),
        "error": pc.if_else(ok, None, "image file is truncated"),
        "processed_at": pa.array(1_780_000_000_000_000 + numbers).cast(pa.timestamp("us", tz="UTC")),
        **{name: pa.repeat(value, count) for name, value in constants.items()},
        **{name: pc.if_else(ok, values, None) for name, values in of_ok.items()},
    }
    arrays = [columns.get(field.name, pa.nulls(count)).cast(field.type) for field in SCHEMA]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _build_predictions(labels: Sequence[str], scores: Floats) -> dict[str, pa.Array]:
    top = np.argsort(-scores, axis=1)[:, :_TOP]
    top_scores = np.take_along_axis(scores, top, axis=1)
    ends, names = pa.array(np.arange(0, top.size + 1, top.shape[1], dtype=np.int32)), pa.array(labels)
    return {
        "label": names.take(pa.array(top[:, 0])),
        "score": pa.array(top_scores[:, 0]),
        "top_labels": pa.ListArray.from_arrays(ends, names.take(pa.array(top.ravel()))),
        "top_scores": pa.ListArray.from_arrays(ends, pa.array(top_scores.ravel())),
        "decision": pa.array(np.array(OUTCOMES)[2 - np.searchsorted(_DECIDED, top_scores[:, 0])]),
    }


def _join_texts(*pieces: str | Numbers | pa.Array) -> pa.Array:
    texts = [piece if isinstance(piece, str) else pa.array(piece).cast(pa.string()) for piece in pieces]
    return pc.binary_join_element_wise(*texts, "")


def draw_hashes(numbers: Numbers) -> list[str]:
    """Draw a content hash for each photo; the same for the same photos."""
    text = np.random.default_rng(int(numbers[0])).bytes(16 * len(numbers)).hex()
    return [text[start : start + 32] for start in range(0, len(text), 32)]
