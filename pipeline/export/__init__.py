"""Reviewed photos of a results folder as a data set for other people's tools: one file a format, in formats/."""

from pipeline.callable_module import make_callable

# importing this package sets `pipeline.export` to it, so the package itself must be callable
make_callable(__name__, f"{__name__}.export:export", f"{__name__}.config:ExportConfig")
