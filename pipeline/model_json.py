"""JSON files saved beside a model's weights, each the content of one dataclass."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from pipeline.atomic_files import atomic_write_path
from pipeline.errors import ModelError

Content = TypeVar("Content")


def read_model_json(file: Path, kind: type[Content]) -> Content | None:
    """Read a file as a dataclass; None without a file.

    Raises:
        ModelError: the file can't be read.
        ValueError: its content is damaged; says where.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"{file}: {error.strerror}; make it readable") from None
    try:
        return TypeAdapter(kind).validate_json(content)
    except ValidationError as error:
        problem = error.errors()[0]
        reason = problem["msg"].replace("Input should be", "must be")
        raise ValueError(": ".join([*map(str, problem["loc"]), reason])) from None


def write_model_json(content: Any, file: Path) -> Path:
    """Write a dataclass into a file of a model's folder; return the file.

    Raises:
        StoreError: the folder can't be written.
    """
    with atomic_write_path(file, file.parent) as temporary:
        temporary.write_text(json.dumps(asdict(content), indent=1) + "\n", encoding="utf-8")
    return file
