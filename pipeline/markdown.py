"""Markdown for model cards and reports."""

from collections.abc import Iterable, Sequence

EVALUATION_BEGIN = "<!-- evaluation: begin -->"
EVALUATION_END = "<!-- evaluation: end -->"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format a table; a bar inside a cell is escaped."""
    cells = [list(header), ["---"] * len(header), *([str(cell).replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def replace_evaluation_section(card: str, section: str) -> str:
    """Put `section` between the evaluation marks of a model card, or at its end if it has no marks."""
    block = f"{EVALUATION_BEGIN}\n{section.strip()}\n{EVALUATION_END}"
    head, begin, rest = card.partition(EVALUATION_BEGIN)
    _, end, tail = rest.partition(EVALUATION_END)
    return head + block + tail if begin and end else f"{card.rstrip()}\n\n{block}\n"
