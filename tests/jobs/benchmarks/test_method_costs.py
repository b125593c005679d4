"""The costs of maps: every method is measured; the figures themselves are not checked."""

import json

from click.testing import CliRunner

from jobs.benchmarks.method_costs import method_costs_command
from pipeline.maps.methods import METHODS


def test_every_method_is_measured_beside_the_bare_model(tiny_vit):
    asked = ["--model", str(tiny_vit), "--rounds", "1", "--batch-size", "2", "--input-size", "48", "--device", "cpu"]
    result = CliRunner().invoke(method_costs_command, asked, catch_exceptions=False)
    assert result.exit_code == 0
    *table, last = result.output.splitlines()
    ratios = json.loads(last)
    assert list(ratios) == ["bare", *METHODS]
    assert ratios["bare"] == 1
    assert all(ratio > 0 for ratio in ratios.values())
    assert [line.split("|")[1].strip() for line in table[4:]] == list(ratios)
