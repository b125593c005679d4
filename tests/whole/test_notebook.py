"""docs/analysis.ipynb: it runs, says what it should, and is kept with small outputs that name no machine."""

import re
from pathlib import Path

import nbformat
import pytest

from tests.helpers.notebooks import execute_notebook

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "analysis.ipynb"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """The notebook, executed anew."""
    return execute_notebook(NOTEBOOK, tmp_path_factory.mktemp("settings"))


def outputs_of(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def text_of(notebook: nbformat.NotebookNode) -> str:
    """All that the outputs say, without the pictures."""
    texts = [output.get("text", "") for output in outputs_of(notebook)]
    texts += [
        str(data) for output in outputs_of(notebook) for kind, data in output.get("data", {}).items() if "text" in kind
    ]
    return "\n".join(texts)


def pictures(notebook: nbformat.NotebookNode) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs_of(notebook))


def test_every_cell_runs_and_finds_what_was_planted(fresh):
    said = text_of(fresh)
    assert "16 photos, 1 failed" in said
    assert re.search(r"board-6453\.png +Truncated File Read", said)
    doubtful = next(cell for cell in fresh.cells if "where=" in cell.source).outputs[0].data["text/plain"]
    assert re.findall(r"board-\d+\.png", doubtful) == ["board-2999.png", "board-9599.png"]
    unlike = next(cell for cell in fresh.cells if 'frame["unfamiliar"] >' in cell.source).outputs[0].data["text/plain"]
    assert set(re.findall(r"board-\d+\.png", unlike)) >= {"board-2999.png", "board-9599.png"}, "the blurred ones"
    assert pictures(fresh) == 4


def test_kept_outputs_are_of_this_notebook_and_small():
    kept = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(kept)
    code = [cell for cell in kept.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run from top to bottom"
    assert pictures(kept) == 4
    assert NOTEBOOK.stat().st_size < 300_000


def test_kept_outputs_name_no_machine_and_no_fault():
    kept = nbformat.read(NOTEBOOK, as_version=4)
    assert not re.findall(r"(?<![\w<])/\w+/\S*|\b[A-Z]:\\", text_of(kept))
    assert "Warning" not in text_of(kept)
    assert {output.output_type for output in outputs_of(kept)} <= {"stream", "display_data", "execute_result"}
