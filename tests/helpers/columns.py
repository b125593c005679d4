"""Columns of a table without its files."""

import numpy as np

from pipeline.report.table_columns import FailedRows, TableColumns


def make_columns(labels, **changes):
    """Return the columns of ok rows of one run, with these labels' numbers and scores of 0.5; `changes` replace some.

    Args:
        labels: numbers among often, rare and seldom.
    """
    count, none = len(labels), np.empty(0, np.int64)
    columns = {
        "parts": [], "ends": none, "is_current": np.ones(count, bool), "path_hash": np.arange(count, dtype=np.uint64),
        "run": np.zeros(count, np.int32), "label": labels, "score": np.full(count, 0.5, np.float32),
        "decision": np.full(count, -1, np.int8), "unfamiliar": np.full(count, np.nan, np.float32),
        "is_failed": np.zeros(count, bool), "is_reviewed": np.zeros(count, bool),
        "failures": FailedRows(none, none, none, none.astype(bool), []), "runs": ["20260101T000000Z"],
        "labels": ["often", "rare", "seldom"],
    }  # fmt: skip
    return TableColumns(**columns | changes)
