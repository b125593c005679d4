"""The first classes of a review: those of the models in the table, in the order of their ids."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.model.checkpoint import BUNDLED
from pipeline.model.head import read_head
from pipeline.results.names import part_files
from pipeline.results.parts import read_part
from pipeline.review.rows import ReviewRows


def list_model_classes(rows: ReviewRows) -> dict[str, tuple[str, ...]]:
    """List the classes of each model in the table, by its name; of a model on this machine from its config.json."""
    names = pc.unique(rows.table["model"].cast(pa.string())).to_pylist()
    return {name: _read_config(name) or tuple(_read_from_table(rows, name)) for name in names}


def _read_config(model: str) -> tuple[str, ...]:
    folder = BUNDLED if model == "bundled" else Path(model)
    try:
        return read_head(json.loads((folder / "config.json").read_text(encoding="utf-8"))).labels
    except (OSError, ValueError):
        return ()


def _read_from_table(rows: ReviewRows, model: str) -> Iterable[str]:
    """List the classes seen among the best of any row by their ids: the best label has the largest logit."""
    by_id: dict[int, str] = {}
    for part in part_files(rows.out):
        table = read_part(part, ["model", "top_labels", "logits"])
        table = table.filter(pc.and_(pc.equal(table["model"].cast(pa.string()), model), pc.is_valid(table["logits"])))
        for labels, logits in zip(table["top_labels"].to_pylist(), table["logits"].to_pylist(), strict=True):
            order = np.argsort(-np.asarray(logits), kind="stable")[: len(labels)]
            by_id.update(zip(order.tolist(), labels, strict=True))
            if len(by_id) == len(logits):
                return [by_id[number] for number in sorted(by_id)]
    return [by_id[number] for number in sorted(by_id)]
