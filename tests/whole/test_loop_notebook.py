"""docs/loop.ipynb: from a run to the second model; its kept outputs are those of a fresh execution."""

import nbformat

from tests.helpers.notebooks import ROOT, execute_notebook

NOTEBOOK = ROOT / "docs" / "loop.ipynb"


def answers_of(notebook):
    """Return the text of each cell's result."""
    results = [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs if "data" in output
    ]
    return [result["data"]["text/plain"] for result in results]


def test_loop_closes_as_told(tmp_path):
    fresh, kept = execute_notebook(NOTEBOOK, tmp_path), nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(kept)
    run, _, records, verdicts, exported, learnt, sentence = answers_of(fresh)
    assert run.startswith("(16,")
    assert "anna" in records
    assert verdicts == "{'confirmed': 15, 'unsure': 1}"
    assert "['unsure']" in exported
    assert learnt.startswith("(('copper', 'mousebite', 'ok', 'open', 'pinhole', 'short', 'spur')")
    assert "can't be told apart on 7 photos" in sentence
    assert [answers_of(kept)[place] for place in (0, 3, 4)] == [run, verdicts, exported]
    assert "/tmp" not in NOTEBOOK.read_text()
