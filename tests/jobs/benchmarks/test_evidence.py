"""The hottest values of good and defective photos; the figures themselves are not checked."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from jobs.benchmarks.evidence import _compare_pairs, evidence_command
from pipeline.errors import DataError
from tests.helpers.photos import save_photos


@pytest.fixture
def measure(tmp_path, tiny_checkpoint):
    save_photos(tmp_path / "data" / "ok", 3)
    save_photos(tmp_path / "data" / "dent", 5)

    def measure(*more):
        asked = [str(tmp_path / "data"), "--model", str(tiny_checkpoint("vit")), "--photos", "8", *more]
        return CliRunner().invoke(evidence_command, asked, catch_exceptions=False)

    return measure


def test_good_and_defective_photos_are_measured_apart(measure):
    result = measure()
    assert result.exit_code == 0
    *table, last = result.output.splitlines()
    assert 0 <= json.loads(last)["roc_auc"] <= 1
    assert [[cell.strip() for cell in line.split("|")[1:3]] for line in table[3:]] == [
        ["good", "3"],
        ["defective", "4"],
    ]


def test_photos_of_one_kind_are_refused(measure):
    with pytest.raises(DataError, match="needs good and defective photos to test; name the defects with --positive"):
        measure("--positive", "hole")


def test_pairs_are_counted():
    assert _compare_pairs(np.array([1.0, 2.0]), np.array([2.0, 3.0])) == pytest.approx(7 / 8)
