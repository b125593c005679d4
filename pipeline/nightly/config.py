"""The configuration file of a night: several archives, all their errors at once."""

import os
import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import BeforeValidator, Field, field_validator

from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from pipeline.setting_types import OutLocation, resolve_path
from pipeline.settings import Settings
from pipeline.storage.location import Location, is_url


def _parse_duration(value: object) -> object:
    """Convert `5h`, `90min` or `1h30m` to a timedelta."""
    text = str(value).strip()
    duration = pd.to_timedelta(text, errors="coerce")
    if pd.isna(duration) or re.fullmatch(r"[-+.\d]*", text):  # a bare number would be nanoseconds
        raise ValueError("must be a duration such as 5h, 90min or 1h30m")
    if not duration > timedelta(0):
        raise ValueError("must be positive")
    return duration.to_pytimedelta()


class ArchiveConfig(RunConfig):
    """One archive: the settings of its run, its name, and its budget for failures."""

    out: OutLocation = Field(description="results folder of this archive alone")
    name: str = Field("", description="name in logs and metrics; by default its input folder's")
    max_failed_share: float = Field(
        0.0, ge=0, le=1, description="share of a night's photos allowed to fail before the archive counts as failed"
    )

    @field_validator("input")
    @classmethod
    def _check_input(cls, folder: Location) -> Location:
        # a missing folder, say an unmounted disk, is a fault of this archive alone
        return resolve_path(folder) if isinstance(folder, Path) else folder


class NightlyConfig(Settings):
    """A night. In its file each archive is a table [[archive]]; common settings are in one table [defaults]."""

    stop_after: Annotated[timedelta | None, BeforeValidator(_parse_duration)] = Field(
        None, validate_default=False, description="time for all archives together, such as 5h; finished work stays"
    )
    metrics_file: Path | None = Field(None, description="a .prom file for Prometheus' textfile collector")
    compact_above: int = Field(50, ge=1, description="compact a table with more small parts than this")
    keep_runs: int = Field(365, ge=1, description="run records to keep in each results folder")
    archive: tuple[ArchiveConfig, ...] = Field(description="the archives, in the order of processing")

    @field_validator("metrics_file")
    @classmethod
    def _check_metrics_file(cls, file: Path | None) -> Path | None:
        if file is not None and file.suffix != ".prom":
            raise ValueError("must end in .prom; the textfile collector reads nothing else")
        return file


def read_config(file: Path) -> NightlyConfig:
    """Read a night's configuration. Relative paths in it are relative to its folder.

    Raises:
        ConfigError: the file can't be read, or settings are wrong; names all of them, archive by archive.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8-sig"))  # Windows editors begin it with a BOM
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}; name the night's configuration file") from None
    except ValueError as error:  # of TOML and of UTF-8
        raise ConfigError(f"{file}: is not valid TOML ({error}); correct it") from None
    tables, defaults = content.pop("archive", []), content.pop("defaults", {})
    if not (isinstance(tables, list) and all(isinstance(table, dict) for table in [defaults, *tables])):
        raise ConfigError(f"{file}: archives must be tables [[archive]], their common settings one table [defaults]")
    problems = [] if tables else ["archive: there is none; add a table [[archive]] with input and out"]
    archives = []
    for number, table in enumerate(tables, start=1):
        settings = _resolve_paths(defaults | table, file.parent)
        settings.setdefault("name", Path(str(settings.get("input", number))).name)
        try:
            archives.append(ArchiveConfig(**settings))
        except ConfigError as error:
            problems += [f"archive {settings['name']}: {problem}" for problem in error.problems]
    problems += _find_duplicates(archives)
    try:
        config = NightlyConfig(**_resolve_paths(content, file.parent), archive=tuple(archives))
    except ConfigError as error:
        problems = [*error.problems, *problems]
    if problems:
        raise ConfigError(*problems)
    return config


def _find_duplicates(archives: list[ArchiveConfig]) -> list[str]:
    """Return a problem for each name and results folder used by several archives."""
    names, folders = Counter(archive.name for archive in archives), Counter(archive.out for archive in archives)
    problems = [f"name = {name}: {count} archives have it" for name, count in names.items() if count > 1]
    return problems + [f"out = {out}: {count} archives have it" for out, count in folders.items() if count > 1]


def _resolve_paths(settings: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """Make relative paths independent of the current folder."""
    changed = dict(settings)
    for name in ("input", "out", "labels", "metrics_file"):
        if isinstance(path := changed.get(name), str) and path and not is_url(path):
            changed[name] = str(base / Path(path).expanduser())
    model = str(changed.get("model", "bundled"))
    if model != "bundled" and (model.startswith(".") or os.path.isdir(base / model)):  # anything else is a hub id
        changed["model"] = str(base / model)
    return changed
