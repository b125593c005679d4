"""The photos that stay with their decoders: all while many get an overlay, none while few do."""

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.finish_batch import BatchFinisher
from pipeline.model.input_geometry import InputGeometry
from pipeline.model.targets import Targets
from pipeline.overlays.choice import parse_overlay_choice
from pipeline.progress import Stopwatch
from pipeline.records import Batch, ImageRef, Prediction, Sample
from pipeline.results.rows import RowBuilder


@pytest.fixture
def finish():
    """A function from a choice of overlays and the scores of batches to what `draws_many` says after each of them."""

    def go(choice, *batches):
        rows = RowBuilder(("ok", "bad"), "model", "rollout", "run", lambda path: "f", Targets())
        overlays = SimpleNamespace(submit=lambda sample, *_, **__: f"{sample.ref.path}.png")
        finisher = BatchFinisher(
            rows, InputGeometry((8, 8), None, None, 4), overlays, parse_overlay_choice(choice), (), Stopwatch()
        )
        said, number = [], 0
        for scores in batches:
            predictions = []
            for score in scores:
                number += 1
                ref = ImageRef(f"{number}", None, f"{number}", 1, 1)
                sample = Sample(ref, "00", 8, 8, None, np.zeros((3, 8, 8), np.uint8), None)
                logits = np.log(np.array([score, 1 - score], np.float32))
                predictions.append(Prediction(sample, logits, np.ones((2, 2), np.float32)))
            finished = finisher.finish(Batch(tuple(one.sample for one in predictions), ()), predictions)
            names = finished.rows["overlay"].to_pylist()
            wanted = [choice == "all" or (choice != "none" and score < 0.8) for score in scores]
            assert [name is not None for name in names] == wanted
            said.append(finisher.draws_many)
        return said

    return go


def test_photos_are_kept_while_more_than_an_eighth_is_drawn(finish):
    sure, doubtful = [0.99] * 8, [0.7] * 2 + [0.99] * 6
    assert finish("below:0.8", sure, doubtful, doubtful, sure, sure) == [False, False, True, False, False]
    assert finish("all", sure) == [True]
    assert finish("none", doubtful) == [False]
