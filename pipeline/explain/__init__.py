"""One photo, looked at closely: heads, map, overlay, labels and layer-by-layer rollout as figures."""

from pipeline.callable_module import make_callable

# `pipeline.explain(...)`: this package and its function share their name
make_callable(__name__, f"{__name__}.explain:explain", f"{__name__}.config:ExplainConfig")
