"""A classifier and photos -> how far each method's maps can be trusted. Start at `measure.py`."""

from pipeline.callable_module import make_callable

# importing this package sets `pipeline.trust` to it, so the package itself must be callable
make_callable(__name__, f"{__name__}.measure:trust", f"{__name__}.config:TrustConfig")
