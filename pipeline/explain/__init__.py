"""One photo, looked at closely: heads, map, overlay, labels and layer-by-layer rollout as figures."""

from pipeline.callable_module import make_callable

# importing this package sets `pipeline.explain` to it, so the package itself must be callable
make_callable(__name__, f"{__name__}.explain:explain", f"{__name__}.config:ExplainConfig")
