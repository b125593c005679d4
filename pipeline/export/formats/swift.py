"""ms-swift: boxes in pixels of the file, scaled by the framework for each model it trains."""

from typing import Any

from pipeline.export.config import ExportConfig
from pipeline.export.dataset import ExportDataset, ExportPhoto
from pipeline.export.examples import list_defect_names, order_boxes, refuse_labels, write_conversations
from pipeline.export.folder import ExportFolder
from pipeline.export.formats.messages import ask_for_defects, list_as_json

USAGE = """\
`train.jsonl`, `validation.jsonl` and `test.jsonl`, with the pictures in `images/`. Boxes are pixels of the file;
ms-swift scales them for the model it trains (Qwen2-VL to Qwen3-VL, InternVL) and puts them in the place of `<bbox>`.
In this folder:

    export QWENVL_BBOX_FORMAT=new
    swift sft --model Qwen/Qwen3-VL-4B-Instruct --dataset train.jsonl --val_dataset validation.jsonl

Without the first line, ms-swift writes boxes in an older way, and the answers are not JSON. Photos without a defect
have the answer `[]`. A split without photos has no file.
"""

_ITEM = '{"bbox_2d": <bbox>, "label": "<ref-object>"}'


def check_swift(dataset: ExportDataset, config: ExportConfig) -> None:
    """Refuse labels that would break the JSON of an answer: ms-swift pastes them as they are.

    Raises:
        DataError: names them.
    """
    refuse_labels("swift", dataset, _describe_unholdable)


def write_swift(dataset: ExportDataset, folder: ExportFolder, config: ExportConfig) -> None:
    """Write pictures and one JSON Lines file a split."""
    question = f"<image>{ask_for_defects(list_defect_names(dataset))}"

    def build_line(photo: ExportPhoto, picture: str) -> dict[str, Any]:
        boxes = order_boxes(photo.boxes)
        return {
            "messages": [
                {"role": "user", "content": question},
                {"role": "assistant", "content": list_as_json([_ITEM] * len(boxes))},
            ],
            "images": [picture],
            "objects": {
                "ref": [box.label for box in boxes],
                "bbox": [[box.x0, box.y0, box.x1, box.y1] for box in boxes],
            },
        }

    write_conversations(dataset, folder, build_line)


def _describe_unholdable(label: str) -> str | None:
    if not label.isprintable():
        return "has control characters"
    return 'has a ", a \\ or a <, and is pasted into JSON as it is' if set(label) & set('"\\<') else None
