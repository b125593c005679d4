"""Exports the reviewed photos of a results folder as a data set for other people's tools.

gather labels, splits and names -> decode the photos no reader would take -> write every format -> give it its name
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.dataset.reviewed import find_input_folder
from pipeline.errors import ConfigError, DataError, StoppedError, StoreError
from pipeline.export.config import ExportConfig, FormatName
from pipeline.export.dataset import ExportDataset
from pipeline.export.describe import CARD_FILE, EXPORT_FILE, describe_export, format_card, write_manifest
from pipeline.export.encode_pictures import DecodeRules, encode_pictures
from pipeline.export.folder import ExportFolder
from pipeline.export.format_table import FORMATS
from pipeline.export.gather import FAULTS, gather_dataset
from pipeline.export.picture_store import PictureStore
from pipeline.export.select_photos import keep_model_labels_in_train, limit_ok_share, select_complete_boxes
from pipeline.export.swap_folder import folder_in_the_making, put_in_place
from pipeline.export.tiles import cut_tiles
from pipeline.results.run_record import newest_run_records

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportedFormat:
    """One written format.

    Attributes:
        about: the content of its export.json.
        files: number of its files.
    """

    about: dict[str, Any]
    files: int

    def as_json(self) -> dict[str, Any]:
        """Return the numbers, for the last line of the command."""
        return {name: self.about[name] for name in ("photos", "boxes", "left_out")} | {"files": self.files}


@dataclass(frozen=True)
class ExportResult:
    """The outcome of an export.

    Attributes:
        out: the folder.
        formats: what was written, by format.
        faults: photos with a known label left out because their file is gone, changed or unreadable.
    """

    out: Path
    formats: dict[FormatName, ExportedFormat]
    faults: int


def export(config: ExportConfig, *, stop: Callable[[], bool] = lambda: False) -> ExportResult:
    """Export a data set.

    Args:
        config: all settings.
        stop: asked before each photo to decode and before each format; once true, the export ends.

    Raises:
        ConfigError: the settings are wrong, or nobody has named a rule for groups.
        DataError: there is nothing to export, or a format can't hold a label.
        StoreError: the disk is full or can't be written; the folder is as before.
        StoppedError: `stop()` was true; the folder is as before.
    """
    _check_out(config)
    dataset = gather_dataset(config)
    datasets = {name: _select_for(name, dataset, config) for name in config.format}
    for name, selected in datasets.items():
        FORMATS[name].check(selected, config)
    try:
        with folder_in_the_making(config.out) as making:
            encoded = making / "pictures"
            encoded.mkdir()
            wanted = {photo.name: photo for selected in datasets.values() for photo in selected.photos}
            faults = encode_pictures(list(wanted.values()), encoded, _read_decode_rules(config.results), stop=stop)
            store = PictureStore(encoded, link=config.photos == "link")
            done = making / "data"
            if len(datasets) > 1:
                done.mkdir()
            formats = {}
            for name, selected in datasets.items():
                if stop():
                    raise StoppedError("stopped; nothing was exported")
                folder = ExportFolder(done / name if len(datasets) > 1 else done, store)
                formats[name] = _write_format(name, selected.leave_out(faults), folder, config)
            if len(datasets) > 1:
                (done / EXPORT_FILE).write_text(json.dumps({"formats": list(datasets)}) + "\n", encoding="utf-8")
            put_in_place(done, config.out)
    except OSError as error:
        raise StoreError(
            f"can't write {config.out}: {error.strerror or error} ({error.filename}); the folder is as before: make "
            "room or check the permissions, then run again"
        ) from error
    return ExportResult(config.out, formats, _count_faults(dataset, faults))


def _check_out(config: ExportConfig) -> None:
    """Refuse a folder among the photos, and one with anything but an earlier export to replace.

    Raises:
        ConfigError: it is such a folder.
    """
    out, source = config.out, find_input_folder(config.results)
    if out.is_relative_to(source):
        raise ConfigError(f"out = {out}: lies inside the input folder {source}; name a folder outside it")
    if not out.exists() or not any(out.iterdir()):
        return
    is_ours = (out / EXPORT_FILE).is_file()
    if is_ours and config.replace:
        return
    if is_ours:
        raise ConfigError(f"out = {out}: holds an earlier export; --replace replaces it, or name another folder")
    raise ConfigError(f"out = {out}: holds files of others (no {EXPORT_FILE}); name an empty or a new folder")


def _select_for(name: FormatName, dataset: ExportDataset, config: ExportConfig) -> ExportDataset:
    """Select the photos of a data set fit for a format.

    Raises:
        DataError: there are none.
    """
    if not FORMATS[name].takes_model_labels:
        dataset = keep_model_labels_in_train(dataset)
    if not FORMATS[name].needs_boxes:
        return dataset
    selected = select_complete_boxes(dataset)
    if not selected.photos:
        raise DataError(
            f"{name}: none of {len(dataset.photos)} labelled photos has complete boxes; draw them with `vitrollout "
            f"review {config.results} --boxes`, or export imagefolder or csv"
        )
    tiles = cut_tiles(selected, config.tiles) if config.tiles else selected
    return limit_ok_share(tiles, config.ok_share)


def _write_format(
    name: FormatName, dataset: ExportDataset, folder: ExportFolder, config: ExportConfig
) -> ExportedFormat:
    """Write one format with its manifest, its card and its export.json."""
    if not dataset.photos:
        raise DataError(f"{name}: nothing to export: no labelled photo could be read; see the log")
    if empty := [split for split, photos in dataset.by_split.items() if not photos and split != "test"]:
        log.warning(
            "%s: no photo is in %s, and most trainers stop at that; review photos of more groups", name, empty[0]
        )
    about = describe_export(name, dataset, config)
    FORMATS[name].write(dataset, folder, config)
    write_manifest(dataset, folder, config)
    folder.write_text(CARD_FILE, format_card(name, dataset, config))
    folder.write_json(EXPORT_FILE, about, indent=1)
    folder.flush()
    return ExportedFormat(about, folder.files)


def _read_decode_rules(results: Path) -> DecodeRules:
    """Return the newest run's settings for its decoder."""
    record = next(newest_run_records(results), None)
    settings = record.settings if record else {}
    default = DecodeRules()
    return DecodeRules(
        max_pixels=settings.get("max_pixels", default.max_pixels),
        white_level=settings.get("white_level", default.white_level),
        decode_seconds=settings.get("decode_seconds", default.decode_seconds),
    )


def _count_faults(dataset: ExportDataset, faults: Mapping[str, tuple[str, str | None]]) -> int:
    """Count the photos left out for a fault, and log them."""
    found = [row for row in dataset.leave_out(faults).rows if row.left_out in FAULTS]
    for row in found:
        log.warning("%s: left out: %s (%s)", row.path, row.left_out, row.detail, extra={"path": row.path})
    return len(found)
