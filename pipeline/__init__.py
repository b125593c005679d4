"""vitrollout: attention rollout over folders of photos.

    pipeline.load_model("bundled").predict(images)        labels and maps of a few images, in a notebook
    pipeline.run(input="photos", out="results")           a folder of photos -> a table and overlays
    pipeline.read_results("results")                      the table as a DataFrame
    pipeline.read_tiles("results")                        every window of its large photos, with --keep-tiles
    pipeline.read_reviews("results")                      people's decisions about its photos, as a DataFrame
    pipeline.analysis                                     maps and embeddings of a table: hot boxes, nearest photos, ...
    pipeline.explain, finetune, evaluate, trust, compact, export, draw_overlays
                                                          the other commands, with their options as keyword arguments

Everything is imported at its first use: `import pipeline` alone loads neither torch nor pandas.
"""

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline import analysis
    from pipeline.analysis import stack_attention
    from pipeline.config import RunConfig
    from pipeline.errors import VitrolloutError
    from pipeline.evaluation.evaluate import evaluate
    from pipeline.explain.explain import explain
    from pipeline.export.export import export
    from pipeline.notebook import load_model
    from pipeline.overlays.draw_rows import draw_overlays
    from pipeline.results.compact import compact
    from pipeline.results.read import read_results
    from pipeline.results.run_record import RunSummary
    from pipeline.results.windows import read_tiles
    from pipeline.reviews.read import read_reviews
    from pipeline.run import run
    from pipeline.training.finetune import finetune
    from pipeline.trust.measure import trust

__all__ = [
    "RunConfig",
    "RunSummary",
    "VitrolloutError",
    "analysis",
    "compact",
    "draw_overlays",
    "evaluate",
    "explain",
    "export",
    "finetune",
    "load_model",
    "read_results",
    "read_reviews",
    "read_tiles",
    "run",
    "stack_attention",
    "trust",
]

_SOURCES = {
    "RunConfig": "pipeline.config:RunConfig",
    "RunSummary": "pipeline.results.run_record:RunSummary",
    "VitrolloutError": "pipeline.errors:VitrolloutError",
    "compact": "pipeline.results.compact:compact",
    "load_model": "pipeline.notebook:load_model",
    "read_results": "pipeline.results.read:read_results",
    "read_reviews": "pipeline.reviews.read:read_reviews",
    "read_tiles": "pipeline.results.windows:read_tiles",
    "stack_attention": "pipeline.analysis:stack_attention",
}


_COMMANDS = {
    "draw_overlays": ("pipeline.overlays.draw_rows:draw_overlays", "pipeline.overlays.config:OverlaysConfig"),
    "evaluate": ("pipeline.evaluation.evaluate:evaluate", "pipeline.evaluation.config:EvaluateConfig"),
    "finetune": ("pipeline.training.finetune:finetune", "pipeline.training.config:FinetuneConfig"),
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use (PEP 562)."""
    from pipeline.callable_module import call_command, import_name

    if name in ("analysis", "run", "explain", "export", "trust"):  # modules; all but the first can be called
        return import_module(f"pipeline.{name}")
    if name in _COMMANDS:
        return partial(call_command, *_COMMANDS[name])
    if name in _SOURCES:
        return import_name(_SOURCES[name])
    raise AttributeError(f"module 'pipeline' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
