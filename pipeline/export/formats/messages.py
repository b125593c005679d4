"""Conversations for Qwen3-VL: boxes as JSON in thousandths of the picture, so any resize is fine."""

import json
from typing import Any

from pipeline.export.config import ExportConfig
from pipeline.export.dataset import ExportDataset, ExportPhoto
from pipeline.export.examples import list_defect_names, order_boxes, write_conversations
from pipeline.export.folder import ExportFolder
from pipeline.export.quantise import qwen_units

USAGE = """\
`train.jsonl`, `validation.jsonl` and `test.jsonl`, with the pictures in `images/`: a question, and an answer in JSON,
with boxes x0, y0, x1, y1 in thousandths of the picture, as Qwen3-VL writes them. Photos without a defect have the
answer `[]`. To load them for TRL, in this folder:

    data = datasets.load_dataset("json", data_files={"train": "train.jsonl", "validation": "validation.jsonl"})
    data = data.cast_column("images", datasets.List(datasets.Image()))

A split without photos has no file. Qwen2.5-VL wants pixels of the resized picture instead: use the format `swift`.
"""


def write_messages(dataset: ExportDataset, folder: ExportFolder, config: ExportConfig) -> None:
    """Write pictures and one JSON Lines file a split."""
    question = ask_for_defects(list_defect_names(dataset))

    def build_line(photo: ExportPhoto, picture: str) -> dict[str, Any]:
        # a part has `image` or `text`, never both: Qwen's template takes every part with a key `image` for a picture
        asked = [{"type": "image"}, {"type": "text", "text": question}]
        answered = [{"type": "text", "text": _build_answer(photo)}]
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
        return {"messages": messages, "images": [picture]}

    write_conversations(dataset, folder, build_line)


def ask_for_defects(names: list[str]) -> str:
    """Return the question for boxes around all defects."""
    return f"Locate every defect of these kinds: {', '.join(names)}. Report bbox coordinates in JSON format."


def list_as_json(items: list[str]) -> str:
    """Return a JSON list with an item a line, indented as Qwen's models answer."""
    return "[\n" + ",\n".join(f"\t{item}" for item in items) + "\n]" if items else "[]"


def _build_answer(photo: ExportPhoto) -> str:
    boxes = order_boxes(photo.boxes)
    units = qwen_units(boxes, photo.width, photo.height).tolist()
    answers = [{"bbox_2d": row, "label": box.label} for row, box in zip(units, boxes, strict=True)]
    return list_as_json([json.dumps(answer, ensure_ascii=False) for answer in answers])
