"""What `vitrollout status` says of a results folder."""

import json

import pyarrow as pa
import pytest

import pipeline
from pipeline.errors import ConfigError
from pipeline.report.status import format_status, read_status
from pipeline.results.folder import ResultsFolder
from pipeline.results.schema import to_table
from tests.helpers.photos import save_photos
from tests.helpers.tables import make_record, make_row


def test_status_shows_runs_labels_and_failures(tmp_path, tiny_vit):
    save_photos(tmp_path / "photos", 6)
    (tmp_path / "photos" / "broken.png").write_bytes(b"broken")
    settings = {"input": tmp_path / "photos", "out": tmp_path / "out", "model": str(tiny_vit), "workers": 1}
    summary = pipeline.run(pipeline.RunConfig(**settings))
    status = read_status(tmp_path / "out")
    assert (status.photos, status.failed, status.parts) == (7, 1, 1)
    assert sum(status.labels.values()) == 6
    assert status.reasons == {"not an image of a supported format": 1}
    assert status.failures == [("broken.png", "not an image of a supported format")]
    text = format_status(status)
    assert "7 photos, 1 failed (1 broken); 1 parts" in text
    assert "     1  not an image of a supported format" in text
    assert status.runs[0].summary.run_id == summary.run_id


def test_status_shows_open_runs(tmp_path):
    (tmp_path / "photos").mkdir()
    plan = pa.table({"path": [f"{number}.png" for number in range(10)]})
    with ResultsFolder(tmp_path / "out", tmp_path / "photos") as results:
        opened = results.open_run(make_record(tmp_path / "photos", engine="processes"), plan, rows=4)
        results.create_part(1, to_table([make_row("4.png")]), {})
    status = read_status(tmp_path / "out")
    assert f"run {opened.run_id} is open: 1 of 3 shards done" in format_status(status)
    assert json.loads(json.dumps(status.as_json()))["open_runs"] == [{"run_id": opened.run_id, "done": 1, "shards": 3}]
    opened.close()
    assert "is open" not in format_status(read_status(tmp_path / "out"))


def test_status_of_what_is_no_results_folder(tmp_path):
    with pytest.raises(ConfigError, match="is not a results folder"):
        read_status(tmp_path)
