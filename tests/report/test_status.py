"""What `vitrollout status` says of a results folder."""

import pytest

import pipeline
from pipeline.errors import ConfigError
from pipeline.report.status import format_status, read_status
from tests.helpers.photos import save_photos


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


def test_status_of_what_is_no_results_folder(tmp_path):
    with pytest.raises(ConfigError, match="is not a results folder"):
        read_status(tmp_path)
