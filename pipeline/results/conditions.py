"""Conditions on rows, typed by a person: `label==spur and score<0.8` -> a pyarrow Expression."""

import re
from datetime import UTC, datetime
from difflib import get_close_matches

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.results.schema import SCHEMA

_COMPARISON = re.compile(
    r"\s*(?P<column>\w+)\s*(?P<operator>==|!=|<=|>=|=|<|>)\s*(?P<value>\"[^\"]*\"|'[^']*'|.+?)\s*", re.DOTALL
)
_AND = re.compile(r"""\s+and\s+(?=(?:[^"']|"[^"]*"|'[^']*')*$)""", re.IGNORECASE)  # outside quotation marks
_OPERATORS = {
    "==": pc.equal,
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_EXAMPLE = 'write it as "score<0.8" or "label==spur and score<0.8"'


def parse_where(text: str) -> pc.Expression:
    """Parse comparisons of columns with values, joined by `and`.

    Raises:
        ValueError: it is not such a condition, or names an unknown column.
    """
    comparisons = [_parse_comparison(part) for part in _AND.split(text.strip())]
    condition = comparisons[0]
    for other in comparisons[1:]:
        condition = condition & other
    return condition


def _parse_comparison(text: str) -> pc.Expression:
    match = _COMPARISON.fullmatch(text)
    if match is None:
        raise ValueError(f"{text.strip()!r} is not a comparison; {_EXAMPLE}")
    column = match["column"]
    plain = [field.name for field in SCHEMA if not pa.types.is_nested(field.type)]
    if column not in plain:
        near = get_close_matches(column, plain, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(plain)}"
        raise ValueError(f"no such column: {column}; {hint}")
    field = pc.field(column)
    kind = SCHEMA.field(column).type
    if pa.types.is_dictionary(kind):
        field, kind = field.cast(kind.value_type), kind.value_type
    return _OPERATORS[match["operator"]](field, _parse_value(match["value"], column, kind))


def _parse_value(text: str, column: str, kind: pa.DataType) -> pa.Scalar:
    """Convert a value as typed to the type of its column."""
    if text[0] in "\"'":
        text = text[1:-1] if len(text) > 1 and text[-1] == text[0] else text
    elif re.search(r"[<>=!]", text):
        raise ValueError(f"{text!r} is not a value; {_EXAMPLE}")
    if pa.types.is_floating(kind):  # 0.8 as a float32 would not be below itself in a float32 column, nor equal to 0.8
        kind = pa.float32()
    try:
        return pa.scalar(_parse_time(text) if pa.types.is_timestamp(kind) else text).cast(kind)
    except (pa.ArrowException, ValueError):
        word = "time such as 2026-01-31T12:00" if pa.types.is_timestamp(kind) else "number"
        raise ValueError(f"{column} needs a {word}, not {text!r}; {_EXAMPLE}") from None


def _parse_time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
