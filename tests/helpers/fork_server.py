"""A server that forks processes with the slow imports done: 0.1 s of processor time each, not 4 s.

The processes are real ones, to be killed and measured; only the start of Python is not their own.
"""

import multiprocessing

import pytest  # noqa: F401 - tests import it
from transformers.models.vit.modeling_vit import ViTForImageClassification  # noqa: F401 - imported late by transformers

import pipeline.model.cpu_streams
import pipeline.model.predictor
import pipeline.report.write_page
import pipeline.review.app
import pipeline.review.serve  # noqa: F401
from tests.helpers import models  # noqa: F401

FORK_SERVER = multiprocessing.get_context("forkserver")
FORK_SERVER.set_forkserver_preload([__name__])


def start_fork_server() -> None:
    """Start the server and wait for its imports, so that later processes take their own time only."""
    first = FORK_SERVER.Process(target=int)
    first.start()
    first.join()
