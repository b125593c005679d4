"""The README's picture: photos of a results folder above their overlays.

python -m jobs.readme_pictures.picture results/sample_images docs/overlays.png board-1344.png board-6108.png ...
"""

from pathlib import Path

import click
from PIL import Image, ImageDraw

import pipeline
from pipeline.results.folder import input_folder_of_results

_SIDE, _GAP = 224, 8  # pixels


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.argument("picture", type=click.Path(path_type=Path))
@click.argument("paths", nargs=-1, required=True)
def main(results: Path, picture: Path, paths: tuple[str, ...]) -> None:
    """Write PICTURE: a column for each of the PATHS, photo above overlay, label and score below."""
    rows = pipeline.read_results(results).set_index("path")[["label", "score", "overlay"]].to_dict("index")
    source = Path(input_folder_of_results(results) or "")
    step = _SIDE + _GAP
    sheet = Image.new("RGB", (step * len(paths) - _GAP, 2 * step + 20), "white")
    for column, path in enumerate(paths):
        for line, file in enumerate((source / path, results / rows[path]["overlay"])):
            with Image.open(file) as image:
                sheet.paste(image.convert("RGB").resize((_SIDE, _SIDE)), (column * step, line * step))
        text = f"{rows[path]['label']}  {rows[path]['score']:.3f}"
        ImageDraw.Draw(sheet).text((column * step, 2 * step), text, fill="black", font_size=16)
    picture.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(picture, optimize=True)


if __name__ == "__main__":
    main()
