"""An open run of twenty photos in shards of four."""

import pyarrow as pa
import pytest

from pipeline.planning.plan_schema import PLAN_SCHEMA
from pipeline.results.folder import ResultsFolder
from tests.helpers.tables import make_record


@pytest.fixture
def open_run(tmp_path):
    (tmp_path / "photos").mkdir()
    rows = [{"path": f"{number:02}.png", "failed_before": False, "clashes": False} for number in range(20)]
    with ResultsFolder(tmp_path / "out", tmp_path / "photos") as results:
        record = make_record(tmp_path / "photos", engine="processes")
        return results.open_run(record, pa.Table.from_pylist(rows, PLAN_SCHEMA), rows=4)
