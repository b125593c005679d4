"""The order of the house: each part of pipeline/ imports only from floors below its own, read from the source."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import jobs.cli

ROOT = Path(__file__).parents[1]

# Lowest first: a file or folder of pipeline/ imports from the floors below its own, never from its own floor or above.
FLOORS = (
    "errors cores freed_memory",
    "atomic_files folder_lock locale_encoding progress markdown intervals figures records callable_module",
    "storage model_json",
    # people's decisions: every stage may read them
    "reviews",
    "decision",
    # the stages of a run, and the settings of their folders
    "photos",
    "labelled",
    "maps",
    "setting_types",
    "settings",
    "model",
    "results",
    "dataset",
    "overlays",
    "report",
    # the run, and what it leaves to analyse
    "analysis config",
    "planning",
    "run_model finish",
    "finish_batch",
    "work",
    "engines",
    "prepare",
    "run notebook",
    "scheduled",
    # the other commands, which know nothing of each other
    "explain training evaluation trust nightly review export",
)
FLOOR_OF = {unit: number for number, units in enumerate(FLOORS) for unit in units.split()}


def module_name(file: Path) -> str:
    """Return the dotted name: pipeline/photos/__init__.py is pipeline.photos."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(file): file for folder in ("pipeline", "jobs") for file in (ROOT / folder).rglob("*.py")}


def module_of(dotted: str) -> str | None:
    """Return the module of the project with the longest name that `dotted` begins with."""
    parts = dotted.split(".")
    prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in FILES), None)


def names_in(node: ast.AST) -> list[str]:
    """Return the dotted names that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"line {node.lineno}: imports are absolute here"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def imports_of(module: str) -> Iterator[tuple[int, str]]:
    """Yield line and module of each import, inside functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        for imported in filter(None, map(module_of, names_in(node))):
            yield node.lineno, imported


def lazy_imports_of(module: str) -> Iterator[tuple[int, str]]:
    """Yield line and module of each string that names one, for `import_module`: `pipeline.maps.rollout:function`."""
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("pipeline."):
            dotted = node.value.partition(":")[0]
            if dotted in FILES:
                yield node.lineno, dotted


def unit_of(module: str) -> str:
    """Return the file or folder directly in pipeline/ (the part of `FLOORS`) that holds the module."""
    return module.split(".")[1]


LIBRARY = [module for module in FILES if module.startswith("pipeline.")]  # without the public names, for users only


def imports_between_units() -> Iterator[tuple[str, str, str]]:
    """Yield place, unit and imported unit of each import of a part of pipeline/ by another part."""
    for module in LIBRARY:
        for line, imported in [*imports_of(module), *lazy_imports_of(module)]:
            if imported in LIBRARY and unit_of(imported) != unit_of(module):
                yield f"{FILES[module].relative_to(ROOT)}:{line}", unit_of(module), unit_of(imported)


def test_every_file_and_folder_has_a_floor():
    assert {unit_of(module) for module in LIBRARY} == set(FLOOR_OF)


def test_imports_come_from_floors_below():
    climbing = [
        f"{place}: {unit} imports from {imported}"
        for place, unit, imported in imports_between_units()
        if FLOOR_OF[imported] >= FLOOR_OF[unit]
    ]
    assert climbing == []


def test_commands_share_stages_and_nothing_else():
    """Labelled photos, intervals and Markdown have a home below all three, so none needs another one."""
    imported = {(unit, other) for _, unit, other in imports_between_units()}
    assert not imported & {("evaluation", "training"), ("trust", "training"), ("trust", "evaluation")}


def test_modules_import_in_no_circle():
    graph = {module: {imported for _, imported in imports_of(module)} - {module} for module in FILES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = [f"{module} is imported by {importer}" for module, importer in pairwise(error.args[1])]
        raise AssertionError(circle) from None


def test_jobs_has_one_file_a_command():
    files = {file.stem for file in (ROOT / "jobs").glob("*.py")} - {"__init__", "cli"}
    assert files == set(jobs.cli.COMMANDS)


def test_library_imports_neither_the_commands_nor_its_own_public_names():
    outside = [
        f"{FILES[module].relative_to(ROOT)}:{line} imports {imported}"
        for module in LIBRARY
        for line, imported in imports_of(module)
        if imported not in LIBRARY
    ]
    assert outside == []
