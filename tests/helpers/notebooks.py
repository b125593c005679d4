"""Running the notebooks of docs/."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]


def execute_notebook(file: Path, settings: Path) -> nbformat.NotebookNode:
    """Return a notebook of this checkout, executed.

    Args:
        file: the notebook.
        settings: an empty folder in place of anybody's own settings of Jupyter.
    """
    notebook = nbformat.read(file, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        for folder in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
            (settings / folder).mkdir()
            patch.setenv(folder, str(settings / folder))
        return NotebookClient(notebook, timeout=300, resources={"metadata": {"path": file.parent}}).execute()
