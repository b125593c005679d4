"""Reading a results folder back, also during a run."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import ConfigError, one_line
from pipeline.results.names import TABLE, part_files
from pipeline.results.parts import concatenate_parts, newest_rows, read_part
from pipeline.results.schema import SCHEMA
from pipeline.reviews.files import REVIEW_COLUMNS
from pipeline.storage.files import list_names
from pipeline.storage.location import Location, parse_location
from pipeline.storage.storage import check_reachable

if TYPE_CHECKING:  # half a second to import, and a run needs none of it
    import pandas as pd

Filter = tuple[str, str, Any]  # column, one of == != < <= > >= in "not in", value
Where: TypeAlias = pc.Expression | Sequence[Filter] | Sequence[Sequence[Filter]]


def read_results(
    out: str | Location, columns: Sequence[str] | None = None, where: Where | None = None, *, reviews: bool = False
) -> "pd.DataFrame":
    """Read the table of a results folder: the newest row of each path.

    Args:
        out: the results folder, or its URL.
        columns: names of columns; all by default.
        where: a condition on the newest rows: `[("label", "==", "short"), ("score", "<", 0.8)]` for all of several, a
            list of such lists for any of several, like `filters` of pandas.read_parquet, or a pyarrow.compute
            Expression. Its columns need not be in `columns`. A missing value, such as the score of a failed photo,
            meets no condition but "not in".
        reviews: add three columns: reviewed_label, the label agreed on by the photo's reviewers; verdict, that of the
            newest review, or "disputed"; agrees, whether label and reviewed_label are the same class. All are missing
            without reviews.

    Returns:
        One row per path, sorted by path. Dictionary columns are categorical, lists are NumPy arrays, and
        more_maps is a dict of arrays by method.

    Raises:
        ConfigError: the folder holds no results, a column is unknown, or `where` can't be applied to the table.
        StoreError: a part is damaged, or a file of reviews.
    """
    out = parse_location(out)
    check_results_folder(out)
    columns = list(SCHEMA.names if columns is None else columns)
    _check_columns(columns)
    condition = _parse_condition(where)
    needed = ["path", "content_hash", "label"] if reviews else ["path"]
    while True:
        try:
            table = _current_rows(part_files(out), list(dict.fromkeys([*needed, *columns])), condition)
        except FileNotFoundError:
            continue  # compacted meanwhile; the new parts have its rows
        # a map as a list of pairs, pandas' usual form, could be written to no other table
        frame: pd.DataFrame = table.to_pandas(maps_as_pydicts="strict").sort_values("path", ignore_index=True)
        if reviews:
            frame = _add_reviews(frame, out)
            columns += REVIEW_COLUMNS
        return frame.loc[:, columns]


def check_results_folder(out: str | Location) -> None:
    """Raise a ConfigError for a place without a table, or out of reach."""
    out = parse_location(out)
    check_reachable(out)
    if not ((out / TABLE).is_dir() if isinstance(out, Path) else list_names(out / TABLE)):
        raise ConfigError(f"{out} is not a results folder: it has no table/; name the --out of a run")


def _add_reviews(frame: "pd.DataFrame", out: Location) -> "pd.DataFrame":
    from pipeline.reviews.read import read_truths  # for those who ask for reviews
    from pipeline.reviews.summary import add_reviews

    return add_reviews(frame, read_truths(out))


def _current_rows(parts: Sequence[Location], columns: Sequence[str], condition: pc.Expression) -> pa.Table:
    """Read the newest row of each path, if it meets the condition, in the order of the parts."""
    lists = [name for name in columns if pa.types.is_nested(SCHEMA.field(name).type)]
    plain = [name for name in columns if name not in lists]
    # first the small columns of all parts: they decide about the rows
    keys = list(dict.fromkeys(["path", "run_id", *plain, *_columns_of_condition(condition)]))
    tables = [read_part(part, keys) for part in parts]
    table = concatenate_parts(tables, keys).append_column("row", pa.array(np.arange(sum(map(len, tables)))))
    is_selected = np.zeros(len(table), bool)
    is_selected[table.take(newest_rows(table)).filter(condition)["row"].to_numpy()] = True
    selection = table.select(plain).filter(pa.array(is_selected))
    # then the lists, the bulk of the table: only from parts with selected rows
    if lists:
        ends = np.cumsum([len(part_table) for part_table in tables], dtype=int)
        masks = [is_selected[end - len(part_table) : end] for part_table, end in zip(tables, ends, strict=True)]
        bulk = concatenate_parts(
            [
                read_part(part, lists).filter(pa.array(mask))
                for part, mask in zip(parts, masks, strict=True)
                if mask.any()
            ],
            lists,
        )
        for name in lists:
            selection = selection.append_column(name, bulk[name])
    return selection


def _parse_condition(where: Where | None) -> pc.Expression:
    try:
        if not isinstance(where, pc.Expression):
            where = pq.filters_to_expression(where) if where else pc.scalar(True)
        SCHEMA.empty_table().filter(where)
    except (pa.ArrowException, ValueError, TypeError, KeyError) as error:
        reason = one_line(error)
        if unknown := re.match(r"No match for FieldRef\.Name\((.*?)\) in ", reason):
            _check_columns([unknown[1]])
        example = '[("label", "==", "short"), ("score", "<", 0.8)]'
        raise ConfigError(f"where can't be applied: {reason}; give it as {example}, or a pyarrow Expression") from error
    return where


def _columns_of_condition(condition: pc.Expression) -> list[str]:
    """List the columns of a condition. An Expression does not name them, but fails without them."""

    def fails_without(name: str) -> bool:
        try:
            SCHEMA.empty_table().drop_columns([name]).filter(condition)
        except pa.ArrowInvalid:
            return True
        return False

    return [name for name in SCHEMA.names if fails_without(name)]


def _check_columns(names: Sequence[str]) -> None:
    if unknown := set(names) - set(SCHEMA.names):
        raise ConfigError(f"no such column: {', '.join(sorted(unknown))}; there are {', '.join(SCHEMA.names)}")
