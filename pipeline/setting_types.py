"""Types of settings with their checks, and checks between settings."""

import math
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, InstanceOf, PlainSerializer

from pipeline.errors import ConfigError
from pipeline.maps.methods import AUTO, LABEL_METHODS, METHODS, WantedMethod
from pipeline.storage.location import Location, ObjectUrl, is_url, parse_location

Place = TypeVar("Place", bound=Location)

_SCALE_WORDS = ("auto", "model", "run", "photo")
LEAST_TILE = 8  # pixels
_LARGEST_INPUT = 16_384  # pixels of a side: over a million patches


def none_or(value: object) -> object:
    """Convert the word `none` of a command line to None."""
    return None if value == "none" else value


def split_at_commas(value: object) -> object:
    """Convert `open,short` to ("open", "short"), without repetitions; tuples and lists of such texts too."""
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        return value
    names = (name.strip() for part in parts for name in str(part).split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def resolve_path(path: Path) -> Path:
    """Return the absolute path. Fails if it cannot be stat'ed."""
    try:
        path = path.expanduser().resolve()
        path.exists()
    except (OSError, RuntimeError) as error:  # name too long, no permission, unknown user in `~`, symlink loop
        raise ValueError(f"can't be accessed: {getattr(error, 'strerror', None) or error}") from None
    return path


def resolve_file(path: Path) -> Path:
    """Return the absolute path of a file. Fails if there is none."""
    if not (path := resolve_path(path)).is_file():
        raise ValueError("no such file")
    return path


def check_outside(out: Place, source: Location | None) -> Place:
    """Reject an output folder inside the input folder, or prefix inside a prefix.

    Skipped when `source` is invalid (reported separately), a list or a CSV.
    """
    if isinstance(source, ObjectUrl):
        is_inside = isinstance(out, ObjectUrl) and out.is_relative_to(source)
    else:
        is_inside = isinstance(out, Path) and source is not None and source.is_dir() and out.is_relative_to(source)
    if is_inside:
        raise ValueError("lies inside the input folder, so pictures would become input; name a folder outside it")
    return out


def check_explained(label: str | None, methods: Collection[WantedMethod]) -> str | None:
    """Reject a label to explain if no method explains labels; `auto` takes one that does."""
    if label not in (None, "top1") and not set(methods) & {AUTO, *LABEL_METHODS}:
        raise ValueError(
            f"{', '.join(methods)} gives the same map for every label; "
            f"add a --method with label-dependent maps: {', '.join(LABEL_METHODS)}"
        )
    return label


def check_any_method(methods: tuple[WantedMethod, ...]) -> tuple[WantedMethod, ...]:
    """Reject an empty list of methods, and `auto` beside others."""
    if not methods:
        raise ValueError(f"must name a method: {', '.join(METHODS)}")
    if AUTO in methods and len(methods) > 1:
        raise ValueError(f"{AUTO} chooses one method for the model, and stands alone; name methods, or only {AUTO}")
    return methods


def check_positive(positive: tuple[str, ...], target: str | None) -> tuple[str, ...]:
    """Reject labels of defects without need; a `target` of None is invalid itself."""
    if positive and target not in (None, "defects"):
        raise ValueError("is only read with target = defects")
    return positive


def _parse_positive(value: object) -> object:
    """Convert `auto` to (), and labels with commas between them to a tuple."""
    return () if value == "auto" else split_at_commas(value)


def _parse_scale(value: object) -> object:
    """Convert a number; words pass."""
    if value in _SCALE_WORDS:
        return value
    try:
        number = float(str(value))
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise ValueError(f"must be {', '.join(_SCALE_WORDS)}, or a value of the maps above 0 to draw as the hottest")
    return number


def is_model_folder(model: str) -> bool:
    """Tell whether a model is a folder of the user's own, for files to be saved with it."""
    return model != "bundled" and os.path.isdir(os.path.expanduser(model))


def _number_to_text(value: object) -> object:
    """Convert an id, as TOML files hold them, to text."""
    return str(value) if isinstance(value, int) else value


def _parse_size(value: object) -> object:
    """Convert `384` to (384, 384) and `384x512` to (384, 512), height first; pairs pass."""
    if none_or(value) is None:
        return None
    sides = [str(side) for side in value] if isinstance(value, tuple | list) else str(value).lower().split("x")
    if len(sides) not in (1, 2) or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise ValueError("must be pixels, such as 384, or HEIGHTxWIDTH")
    if max(map(int, sides)) > _LARGEST_INPUT:
        raise ValueError(f"is more than any model takes; at most {_LARGEST_INPUT}")
    return (int(sides[0]), int(sides[-1]))


def _parse_tile(value: object) -> object:
    if value == "auto" or none_or(value) is None:
        return none_or(value)
    if not str(value).isdecimal() or int(str(value)) < LEAST_TILE:
        raise ValueError(f"must be auto, none, or the side of a window in pixels, at least {LEAST_TILE}")
    return int(str(value))


def _parse_auto_count(value: object) -> object:
    if value == "auto":
        return value
    try:
        count = int(str(value))
    except ValueError:
        count = -1
    if count < 1:
        raise ValueError("must be auto or a whole number of at least 1")
    return count


def _parse_devices(value: object) -> object:
    """Convert `4` to 4, `all` to itself, and `0,2,3` to (0, 2, 3)."""
    if none_or(value) is None or value == "all":
        return none_or(value)
    parts = [str(part).strip() for part in (value if isinstance(value, tuple | list) else str(value).split(","))]
    if not all(part.isdecimal() for part in parts) or len(set(parts)) < len(parts):
        raise ValueError("must be how many, such as 4, or all, or their numbers, such as 0,2,3")
    if len(parts) == 1 and not isinstance(value, tuple | list):
        if int(parts[0]) < 1:
            raise ValueError("must be at least 1; device 0 alone is --device cuda:0")
        return int(parts[0])
    return tuple(map(int, parts))


def _check_not_empty(path: object) -> object:
    if path == "":  # an unset variable of a shell script; as a path it would be the current folder
        raise ValueError("is empty; name a folder")
    return path


def _refuse_url(path: object) -> object:
    if isinstance(path, ObjectUrl) or (isinstance(path, str) and is_url(path)):
        raise ValueError("is a URL, and this needs a folder of this machine; copy it to one first")
    return _check_not_empty(path)


def _parse_location(place: object) -> object:
    """Convert a URL; paths pass."""
    if not (isinstance(place, str) and is_url(place)):
        return _check_not_empty(place)
    try:
        return parse_location(place)
    except ConfigError as error:
        raise ValueError(f"can't be used; {error}") from None


def _check_out_location(out: Location) -> Location:
    return _check_out_folder(out) if isinstance(out, Path) else out


def _check_out_folder(folder: Path) -> Path:
    folder = resolve_path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError("is a file; name a folder")
    try:
        os.fspath(folder).encode()
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8, so neither Parquet nor a report can be written there; rename it") from None
    return folder


def _check_labelled_data(data: Path) -> Path:
    data = resolve_path(data)
    if not data.exists():
        raise ValueError("no such folder, CSV file or results folder")
    return data


def _check_group(rule: str | None) -> str | None:
    if rule is not None:
        from pipeline.labelled.groups import parse_group_rule  # imports pandas

        parse_group_rule(rule)
    return rule


def _parse_also(value: object) -> object:
    """Convert `model>=0.99` to 0.99."""
    if none_or(value) is None or isinstance(value, float):
        return none_or(value)
    match = re.fullmatch(r"\s*model\s*>=\s*(\d*\.?\d+)\s*", str(value))
    if match is None:
        raise ValueError('must be "model>=SCORE", such as "model>=0.99"')
    return float(match[1])


def _check_device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise ValueError("must be auto, cpu, mps, cuda or cuda:N")
    return name


def _check_colormap(name: str) -> str:
    from cmap import Colormap

    try:
        Colormap(name)
    except Exception:  # cmap raises several kinds for names it can't parse
        raise ValueError("no such colour map; try plasma, viridis, inferno, cividis or turbo") from None
    return name


AnyLocation = Annotated[
    Path | InstanceOf[ObjectUrl], BeforeValidator(_parse_location), PlainSerializer(str, when_used="json")
]
OutLocation = Annotated[AnyLocation, AfterValidator(_check_out_location)]
OutFolder = Annotated[Path, BeforeValidator(_refuse_url), AfterValidator(_check_out_folder)]
LabelledData = Annotated[Path, BeforeValidator(_refuse_url), AfterValidator(_check_labelled_data)]
Label = Annotated[str, BeforeValidator(_number_to_text)]
NoneOrLabel = Annotated[Label | None, BeforeValidator(none_or)]
PositiveLabels = Annotated[tuple[str, ...], BeforeValidator(_parse_positive)]
ScaleName = Annotated[Literal["auto", "model", "run", "photo"] | float, BeforeValidator(_parse_scale)]
NoneOrPath = Annotated[Path | None, BeforeValidator(none_or)]
AutoCount = Annotated[Literal["auto"] | int, BeforeValidator(_parse_auto_count)]
Devices = Annotated[Literal["all"] | int | tuple[int, ...] | None, BeforeValidator(_parse_devices)]
Device = Annotated[str, AfterValidator(_check_device)]
ColormapName = Annotated[str, AfterValidator(_check_colormap)]
Group = Annotated[str | None, BeforeValidator(none_or), AfterValidator(_check_group)]
AlsoModel = Annotated[float | None, BeforeValidator(_parse_also)]
Tile = Annotated[Literal["auto"] | int | None, BeforeValidator(_parse_tile)]
InputSize = Annotated[tuple[int, int] | None, BeforeValidator(_parse_size)]
