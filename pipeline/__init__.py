"""vitrollout: attention rollout over folders of photos.

`run(RunConfig(input=..., out=...))` does what the command `vitrollout run` does; `read_results(out)` gives
the table back as a DataFrame, `stack_attention(frame)` its maps as one array, and `analysis` has what to do with them.
"""

from pipeline.analysis import stack_attention
from pipeline.config import RunConfig
from pipeline.errors import VitrolloutError
from pipeline.results.read import read_results
from pipeline.results.run_record import RunSummary
from pipeline.run import run

__all__ = ["RunConfig", "RunSummary", "VitrolloutError", "read_results", "run", "stack_attention"]
