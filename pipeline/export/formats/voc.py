"""Pascal VOC: an XML file a picture."""

from xml.sax.saxutils import escape

from PIL import Image

from pipeline.export.config import ExportConfig
from pipeline.export.dataset import ExportBox, ExportDataset, ExportPhoto
from pipeline.export.folder import ExportFolder

USAGE = """\
Pictures in `JPEGImages/`, PNG among them, an XML file each in `Annotations/`, and the names of each split in
`ImageSets/Main/`. Pixels count from 1 and the last one belongs to the box, as in Pascal VOC. A file without an
`object`: the picture shows no defect.

    supervision.DetectionDataset.from_pascal_voc("JPEGImages", "Annotations")
"""

_SPLIT_FILES = {"train": "train", "validation": "val", "test": "test"}


def write_voc(dataset: ExportDataset, folder: ExportFolder, config: ExportConfig) -> None:
    """Write pictures, annotations and the lists of the splits."""
    for split, photos in dataset.by_split.items():
        stems = [photo.name.rpartition(".")[0] for photo in photos]
        for photo, stem in zip(photos, stems, strict=True):
            folder.place_picture(photo, f"JPEGImages/{photo.name}")
            channels = _count_channels(f"{folder.folder}/JPEGImages/{photo.name}")
            folder.write_text(f"Annotations/{stem}.xml", _format_photo(photo, channels))
        folder.write_text(f"ImageSets/Main/{_SPLIT_FILES[split]}.txt", "".join(f"{stem}\n" for stem in stems))


def _count_channels(file: str) -> int:
    with Image.open(file) as image:
        return len(image.getbands())


def _format_photo(photo: ExportPhoto, channels: int) -> str:
    return (
        f"<annotation>\n  <folder>JPEGImages</folder>\n  <filename>{escape(photo.name)}</filename>\n"
        f"  <size>\n    <width>{photo.width}</width>\n    <height>{photo.height}</height>\n"
        f"    <depth>{channels}</depth>\n  </size>\n  <segmented>0</segmented>\n"
        f"{''.join(map(_format_box, photo.boxes))}</annotation>\n"
    )


def _format_box(box: ExportBox) -> str:
    sides = (round(box.x0) + 1, round(box.y0) + 1, round(box.x1), round(box.y1))
    places = "".join(
        f"      <{name}>{value}</{name}>\n" for name, value in zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=True)
    )
    return (
        f"  <object>\n    <name>{escape(box.label)}</name>\n    <pose>Unspecified</pose>\n"
        f"    <truncated>0</truncated>\n    <difficult>0</difficult>\n"
        f"    <bndbox>\n{places}    </bndbox>\n  </object>\n"
    )
