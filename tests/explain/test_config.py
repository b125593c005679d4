"""Settings of an explanation."""

import pytest

from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from pipeline.explain.config import ExplainConfig


def test_settings_shared_with_a_run_are_the_same():
    apart = {"input", "out", "method", "target"}  # a run may have several methods, and take targets from a CSV
    shared = set(ExplainConfig.model_fields) & set(RunConfig.model_fields) - apart
    assert {"model", "input_size", "head_fusion", "discard_ratio", "precision", "rescale"} <= shared
    for name in shared:
        ours, theirs = ExplainConfig.model_fields[name], RunConfig.model_fields[name]
        assert (ours.default, ours.metadata) == (theirs.default, theirs.metadata), name
    assert RunConfig.model_fields["method"].default == (ExplainConfig.model_fields["method"].default,) == ("auto",)


def test_all_wrong_settings_are_named_at_once(photo):
    with pytest.raises(ConfigError) as caught:
        ExplainConfig(image=photo, layer=0, colormap="mud", method="foo", fetch_bytes=0)
    assert [problem.split(" = ")[0] for problem in caught.value.problems] == [
        "colormap",
        "layer",
        "method",
        "fetch_bytes",
    ]
