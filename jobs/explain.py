"""Show what the model sees in one photo, as figures.

IMAGE is a file, or a URL with http or https. The figures are overlay.png (the map over the photo), map.png (the map
alone), labels.png (the best five), heads.png (the attention of each head of one layer), filmstrip.png (the map layer by
layer), and all.png.

vitrollout explain board.png --out explained/board
vitrollout explain board.png --method relevance --target short --versus open
vitrollout explain board.png --target defects --versus good
vitrollout explain board.png --layer 1 --input-size 448
vitrollout explain https://example.org/cats.jpg --model google/vit-large-patch32-384
"""

import json
from typing import Any

import click

from jobs.command_line.decorator import command
from jobs.command_line.extras import require_extra
from jobs.command_line.options import given_options, settings_options
from pipeline.explain.config import ExplainConfig
from pipeline.explain.explain import explain


@command(__doc__)
@settings_options(ExplainConfig, argument="image")
def explain_command(**options: Any) -> None:
    require_extra("figures", "matplotlib")
    config = ExplainConfig(**given_options(options))
    explanation = explain(config)
    from pipeline.explain.figures import write_figures  # imports torch: too slow for a wrong URL
    from pipeline.overlays.draw import overlay_look

    figures = write_figures(explanation, overlay_look(config, explanation.span), config.out)
    summary = {
        "image": str(config.image),
        "label": explanation.labels[0],
        "score": explanation.scores[0],
        "top_labels": explanation.labels,
        "top_scores": explanation.scores,
        "target": explanation.target,
        "versus": explanation.versus,
        "scale": explanation.span,
        "unfamiliar": explanation.unfamiliar,
        "tile_box": explanation.window,
        "detections": [
            {"label": explanation.class_names[one.label_id], "score": one.score, "box": one.box}
            for one in explanation.detections
        ],
        "layer": explanation.layer,
        "note": explanation.prediction.sample.note,
        "figures": {name: str(file) for name, file in figures.items()},
    }
    click.echo(json.dumps(summary))
