"""The published yardstick: ELPV's solar cells as data sets for `vitrollout finetune`, and the table of results.

    pip install 'vitrollout[bench]'
    python -m jobs.datasets.elpv prepare --out work/elpv --split random --seed 0     # -> work/elpv/random-0.csv
    vitrollout finetune work/elpv/random-0.csv ... ; vitrollout evaluate work/elpv/random-0.csv ...
    python -m jobs.datasets.elpv table work/elpv/results/random-0 work/elpv/results/random-1 ...

2,624 electroluminescence photos of solar cells, 300 x 300 pixels, each with a defect probability given by experts:
0, 1/3, 2/3 or 1. CC BY-NC-SA 4.0: neither the photos nor models trained on them belong into a package.

Buerhop-Lutz et al.: A Benchmark for Visual Identification of Defective Solar Cells in Electroluminescence Imagery,
EU PVSEC 2018. Deitsch et al.: Automatic Classification of Defective Photovoltaic Module Cells in Electroluminescence
Images, Solar Energy 185, 2019, arXiv:1807.02894.
"""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from jobs.command_line.exits import exit_on_error
from jobs.command_line.extras import require_extra
from pipeline.atomic_files import atomic_write_path
from pipeline.errors import ConfigError, DataError
from pipeline.markdown import markdown_table

TEST_SHARE = 0.25
VALIDATION_SHARE = 0.1  # of the rest
MODULE = 60  # cells of one solar module, in nearly all of the 44
# Column of the table -> keys of the number in metrics.json.
METRICS = {
    "accuracy": ("metrics", "accuracy"),
    "balanced accuracy": ("metrics", "balanced_accuracy"),
    "F1 (defective)": ("f1", "defective"),
    "ROC AUC": ("any_defect", "at_0.5", "roc_auc"),
    "average precision": ("any_defect", "at_0.5", "average_precision"),
}

Blocks = NDArray[np.intp]


def label_cells(probabilities: NDArray[np.float64]) -> pd.DataFrame:
    """Label and weigh each cell, (N,) -> columns label and weight.

    A cell is "defective" over a probability of 0.5. If the experts were not sure, the probability is the weight, 1/3 or
    2/3, as in Deitsch et al.; the weight of a sure cell is 1.
    """
    sure = np.isclose(probabilities, 0) | np.isclose(probabilities, 1)
    labels = np.where(probabilities > 0.5, "defective", "functional")
    return pd.DataFrame({"label": labels, "weight": np.where(sure, 1.0, probabilities).round(4)})


def find_module_blocks(types: Sequence[str]) -> Blocks:
    """Number the rows of the list, (N,), with equal numbers for neighbours probably from the same solar module.

    The list doesn't name modules, but it goes through them one by one, and a module's cells are all "mono" or all
    "poly". So blocks have 60 rows and start again at each change of the type; a rest of under half a module joins the
    block before. This gives 44 blocks for the 44 modules. A few cells are missing from the list, so some borders are
    off by a few rows.
    """
    starts = [0, *(row for row in range(1, len(types)) if types[row] != types[row - 1]), len(types)]
    blocks, number = np.empty(len(types), dtype=np.intp), 0
    for start, end in pairwise(starts):
        count = max(1, (end - start + MODULE // 2) // MODULE)
        blocks[start:end] = number + np.minimum(np.arange(end - start) // MODULE, count - 1)
        number += count
    return blocks


def split_random(probabilities: NDArray[np.float64], types: Sequence[str], seed: int) -> list[str]:
    """Choose a split for each cell, stratified by probability x cell type; a module's cells lie on all sides."""
    strata = pd.Series([f"{cell_type} {3 * value:.0f}" for cell_type, value in zip(types, probabilities, strict=True)])
    return _name_splits(strata, seed)


def split_blocks(probabilities: NDArray[np.float64], types: Sequence[str], seed: int) -> list[str]:
    """Choose a split for each cell, equal within a block, stratified by cell type and by many or few defects."""
    cells = pd.DataFrame({"block": find_module_blocks(types), "type": list(types), "defective": probabilities > 0.5})
    blocks = cells.groupby("block").agg(type=("type", "first"), share=("defective", "mean"))
    many = blocks["share"] > blocks.groupby("type")["share"].transform("median")
    strata = blocks["type"] + many.map({True: " many", False: " few"})
    split_of_block = _name_splits(strata.reset_index(drop=True), seed)
    return [split_of_block[block] for block in cells["block"]]


def _name_splits(strata: pd.Series, seed: int) -> list[str]:
    """Deal out units to train, validation and test, each with its share of every stratum."""
    require_extra("train", "sklearn")
    from sklearn.model_selection import train_test_split

    splits = np.full(len(strata), "train", dtype=object)
    units = np.arange(len(strata))
    for name, share in (("test", TEST_SHARE), ("validation", VALIDATION_SHARE)):
        units, taken = train_test_split(units, test_size=share, stratify=strata[units], random_state=seed)
        splits[taken] = name
    return list(splits)


def read_metrics(folder: Path) -> dict[str, float]:
    """Read the numbers of the table's columns from a folder's metrics.json.

    Raises:
        DataError: the file is missing or not valid JSON, or a number is missing.
    """
    file = folder / "metrics.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not valid JSON"
        raise DataError(f"{file}: {reason}; give folders written by `vitrollout evaluate`") from error
    return {column: _find_number(content, keys, file) for column, keys in METRICS.items()}


def _find_number(content: Any, keys: Sequence[str], file: Path) -> float:
    for key in (*keys, "value"):
        content = content.get(key) if isinstance(content, dict) else None
    if not isinstance(content, int | float):
        name = ".".join(keys)
        raise DataError(f"{file}: no number {name!r}; evaluate a model with the classes 'defective' and 'functional'")
    return float(content)


def format_results(folders: Sequence[Path]) -> str:
    """Format results as a Markdown table, mean ± deviation over seeds.

    Args:
        folders: results of `vitrollout evaluate`, named SPLIT-SEED; all seeds of a split make one line.
    """
    groups: dict[str, list[dict[str, float]]] = defaultdict(list)
    for folder in folders:
        groups[re.sub(r"-\d+$", "", folder.resolve().name)].append(read_metrics(folder))
    rows = [
        [split, len(runs), *(_format_mean([run[column] for run in runs]) for column in METRICS)]
        for split, runs in groups.items()
    ]
    return markdown_table(["split", "seeds", *METRICS], rows)


def _format_mean(values: Sequence[float]) -> str:
    mean = f"{np.mean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.3f}"


@click.group()
def main() -> None:
    """Prepare ELPV's photos of solar cells, and print the results of models trained on them."""


@main.command("prepare")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the photos and the CSV.")
@click.option("--split", type=click.Choice(["random", "blocks"]), default="random", show_default=True)
@click.option("--seed", default=0, show_default=True)
def write_cells(out: Path, split: str, seed: int) -> None:
    """Write the photos and OUT/SPLIT-SEED.csv: path,label,weight,split."""
    try:
        from elpv_dataset.utils import load_dataset
    except ImportError as error:
        raise ConfigError("elpv-dataset: not installed; pip install 'vitrollout[bench]'") from error
    photos, probabilities, types = load_dataset()  # (N, 300, 300) uint8, (N,), (N,)
    (out / "cells").mkdir(parents=True, exist_ok=True)
    paths = [f"cells/cell{number:04d}.png" for number in range(1, len(photos) + 1)]  # numbers as in the list
    for path, photo in zip(paths, photos, strict=True):
        if not (out / path).exists():  # other splits use the same photos
            with atomic_write_path(out / path, out, durable=False) as temporary:
                Image.fromarray(photo).save(temporary, "PNG")
    table = label_cells(probabilities)
    table.insert(0, "path", paths)
    table["split"] = (split_random if split == "random" else split_blocks)(probabilities, list(types), seed)
    with atomic_write_path(out / f"{split}-{seed}.csv", out) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    click.echo(pd.crosstab(table["split"], table["label"]).to_string())
    click.echo(out / f"{split}-{seed}.csv")


@main.command("table")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
def print_results(results: tuple[Path, ...]) -> None:
    """Print mean and standard deviation over seeds, of result folders named SPLIT-SEED."""
    click.echo(format_results(results))


if __name__ == "__main__":
    with exit_on_error("elpv"):
        main()
