"""Words of the log after a training."""

import math
from types import SimpleNamespace

import pytest

from pipeline.training.announcements import announce_end
from pipeline.training.validation import Metrics


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (Metrics(0.95, 0.9, 0.2, false_alarms=0.1), None),
        (Metrics(0.95, 0.4, 0.2), "this model is of little use yet: on test, it has a macro F1 of 0.40"),
        (
            Metrics(0.95, 0.9, 0.2, false_alarms=0.66),
            "this model is of little use yet: on test, it has a macro F1 of 0.90, and 66% false alarms where 99% of "
            "the defects are found",
        ),
    ],
)
def test_a_model_of_little_use_is_said_to_be_one(caplog, metrics, said):
    caplog.set_level("INFO")
    measured = {"validation": Metrics(1.0, 1.0, 0.0, false_alarms=math.nan), "test": metrics}
    announce_end(measured, SimpleNamespace(advice=("First.", "Second.")))
    assert caplog.messages == [*([said] if said else []), "First.", "Second."]
