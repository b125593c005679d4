"""Draw the README's picture: photos of a results folder above their overlays, and what was found below.

The arguments are a results folder, the PNG to write, and photos by their paths in the table, one column each.

python -m jobs.readme_pictures.picture results/sample_images docs/overlays.png whole-1.png whole-3.png
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from PIL import Image, ImageDraw

from jobs.command_line.decorator import command
from jobs.command_line.exits import exit_on_error
from pipeline.records import LIKELY_FROM
from pipeline.results.input_of_results import input_folder_of_results
from pipeline.results.read import read_results

_SIDE, _GAP = 480, 8  # pixels
_TEXT_HEIGHT = 20  # pixels


@command(__doc__)
@click.argument("results", type=click.Path(path_type=Path))
@click.argument("picture", type=click.Path(path_type=Path))
@click.argument("paths", nargs=-1, required=True)
def picture_command(results: Path, picture: Path, paths: tuple[str, ...]) -> None:
    rows = read_results(results).set_index("path")[["label", "score", "overlay", "detections"]].to_dict("index")
    source = Path(input_folder_of_results(results) or "")
    step = _SIDE + _GAP
    sheet = Image.new("RGB", (step * len(paths) - _GAP, 2 * step + _TEXT_HEIGHT), "white")
    for column, path in enumerate(paths):
        for line, file in enumerate((source / path, results / rows[path]["overlay"])):
            with Image.open(file) as image:
                sheet.paste(image.convert("RGB").resize((_SIDE, _SIDE)), (column * step, line * step))
        ImageDraw.Draw(sheet).text((column * step, 2 * step), _describe(rows[path]), fill="black", font_size=16)
    picture.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(picture, optimize=True)


def _describe(row: Mapping[Any, Any]) -> str:
    likely = sum(one["score"] >= LIKELY_FROM for one in row["detections"])
    return f"{likely} defects found"


if __name__ == "__main__":
    with exit_on_error("picture"):
        picture_command()
