"""A classifier and photos -> how far each method's maps can be trusted. Start at `measure.py`."""

from pipeline.callable_module import make_callable

# `pipeline.trust(...)`: this package and its function share their name
make_callable(__name__, f"{__name__}.measure:trust", f"{__name__}.config:TrustConfig")
