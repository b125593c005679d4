"""The review queue: which photos, in which order, and why each one is there.

The orders by doubt leave out the photos of the audit and of the test groups. An audit answered for its doubtful photos
first would say too little of the model, and so would test photos chosen by doubt.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from pipeline.review.queue_rows import Mask, QueueRows, Rows
from pipeline.review.queue_source import QueueSource
from pipeline.reviews.classes import ReviewClass
from pipeline.reviews.truth import Truth

Order = Literal[
    "mixed", "margin", "score", "suspects", "contradicted", "changed", "methods", "drift", "outdated", "disputed",
    "unsure", "random", "audit",
]  # fmt: skip
ORDERS: tuple[Order, ...] = get_args(Order)
