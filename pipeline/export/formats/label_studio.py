"""Label Studio: reviewed photos as annotations, photos labelled by the model as predictions to be corrected."""

from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from pipeline.export.config import ExportConfig
from pipeline.export.dataset import ExportBox, ExportDataset, ExportPhoto
from pipeline.export.examples import list_defect_names, order_boxes
from pipeline.export.folder import ExportFolder

TASKS_FILE, INTERFACE_FILE = "tasks.json", "interface.xml"
PICTURES = "images"
LOCAL_FILES = "/data/local-files/?d="

USAGE = f"""\
`{TASKS_FILE}` with the pictures in `{PICTURES}/`. Reviewed photos are annotations; photos nobody has reviewed, taken by
`--also "model>=0"`, are predictions with the score of the model. Start Label Studio with this folder as its root:

    LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=$PWD label-studio start

Then create a project, paste `{INTERFACE_FILE}` as its labeling interface, add the local storage `{PICTURES}` without
syncing it, and import `{TASKS_FILE}`.
"""

_BOX, _LABEL, _PICTURE = "box", "label", "image"  # names of the parts of the interface


def write_label_studio(dataset: ExportDataset, folder: ExportFolder, config: ExportConfig) -> None:
    """Write pictures, tasks and the labeling interface."""
    tasks = []
    for photo in dataset.photos:
        picture = f"{PICTURES}/{photo.name}"
        folder.place_picture(photo, picture)
        tasks.append(_build_task(photo, picture))
    folder.write_json(TASKS_FILE, tasks)
    folder.write_text(INTERFACE_FILE, _format_interface(dataset))


def _build_task(photo: ExportPhoto, picture: str) -> dict[str, Any]:
    task: dict[str, Any] = {
        "data": {
            "image": LOCAL_FILES + quote(picture),
            "path": picture,  # for readers of other tools: the URL means something to Label Studio alone
            "width": photo.width,
            "height": photo.height,
            "photo": photo.path,
            "split": photo.split,
            "reviewed_by": ", ".join(photo.who),
        }
    }
    results = [_describe_label(photo), *(_describe_box(photo, box, at) for at, box in _number_boxes(photo))]
    if photo.source == "model":
        task["predictions"] = [{"model_version": photo.fingerprint, "score": photo.score, "result": results}]
    else:
        task["annotations"] = [{"result": results, "was_cancelled": False, "ground_truth": False}]
    return task


def _number_boxes(photo: ExportPhoto) -> list[tuple[int, ExportBox]]:
    return list(enumerate(order_boxes(photo.boxes), start=1))


def _describe_label(photo: ExportPhoto) -> dict[str, Any]:
    return {
        "id": f"{photo.content_hash[:8]}-0",
        "type": "choices",
        "from_name": _LABEL,
        "to_name": _PICTURE,
        "value": {"choices": [photo.label]},
    }


def _describe_box(photo: ExportPhoto, box: ExportBox, number: int) -> dict[str, Any]:
    """Describe a box in percent of the picture."""
    return {
        "id": f"{photo.content_hash[:8]}-{number}",
        "type": "rectanglelabels",
        "from_name": _BOX,
        "to_name": _PICTURE,
        "original_width": photo.width,
        "original_height": photo.height,
        "image_rotation": 0,
        "value": {
            "x": box.x0 / photo.width * 100,
            "y": box.y0 / photo.height * 100,
            "width": (box.x1 - box.x0) / photo.width * 100,
            "height": (box.y1 - box.y0) / photo.height * 100,
            "rotation": 0,
            "rectanglelabels": [box.label],
        },
    }


def _format_interface(dataset: ExportDataset) -> str:
    """Format the labeling interface: boxes of the defects, and one label a photo."""
    boxes = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in list_defect_names(dataset))
    labels = "".join(f"    <Choice value={quoteattr(name)}/>\n" for name in dataset.class_names)
    return (
        f'<View>\n  <Image name="{_PICTURE}" value="$image" zoom="true"/>\n'
        f'  <RectangleLabels name="{_BOX}" toName="{_PICTURE}">\n{boxes}  </RectangleLabels>\n'
        f'  <Choices name="{_LABEL}" toName="{_PICTURE}" choice="single-radio">\n{labels}  </Choices>\n</View>\n'
    )
