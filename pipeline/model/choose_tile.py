"""`--tile auto` -> the windows of photos: as the model was trained, if its config.json says so."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import ConfigError, ModelError
from pipeline.model.checkpoint import Checkpoint
from pipeline.model.targets import find_defects
from pipeline.photos.tiling import Tiling
from pipeline.setting_types import LEAST_TILE

log = logging.getLogger(__name__)

TILE_KEY = "vitrollout_tile"  # in config.json: side of the windows, pixels of the photo


@dataclass(frozen=True)
class TileChoice:
    """How photos are cut.

    Attributes:
        tiling: the windows; None: the whole photo at once.
        is_by_model: chosen by the model, not by the settings.
    """

    tiling: Tiling | None
    is_by_model: bool = False

    def log_reason(self) -> None:
        """Log windows chosen by the model."""
        if self.tiling and self.is_by_model:
            log.info(
                "tile = %d: the model learned from windows of this size, so larger photos are cut into them; with "
                "--tile none it sees them whole",
                self.tiling.size,
            )


def find_window_defects(
    labels: Sequence[str], saved_positive: Collection[str], positive: Sequence[str] = ()
) -> tuple[int, ...]:
    """Return the ids of the classes looked for in windows; empty if nothing tells defects from good.

    Args:
        labels: class names by id.
        saved_positive: class names of the model's decision; empty: all but usual names for "no defect".
        positive: labels typed by a user, instead.
    """
    try:
        return find_defects(labels, positive, saved_positive)
    except ValueError as error:
        log.info("no defects are looked for in windows: %s", error)
        return ()


def choose_tile(wanted: Literal["auto"] | int | None, overlap: float, checkpoint: Checkpoint) -> TileChoice:
    """Choose the windows of photos.

    Args:
        wanted, overlap: the settings `tile` and `tile_overlap`.
        checkpoint: the model.

    Raises:
        ConfigError: windows are smaller than a patch of the model.
        ModelError: config.json names an impossible size.
    """
    size = checkpoint.config.get(TILE_KEY) if wanted == "auto" else wanted
    if size is None:
        return TileChoice(None)
    if not isinstance(size, int) or isinstance(size, bool) or size < LEAST_TILE:
        raise ModelError(
            f"--model {checkpoint.name}: {TILE_KEY} = {size!r} in its config.json is no side of windows in pixels; "
            "correct it, or give --tile"
        )
    patch = checkpoint.config.get("patch_size") or checkpoint.config.get("vision_config", {}).get("patch_size")
    if isinstance(patch, int) and size < patch:
        raise ConfigError(
            f"tile = {size}: windows of {size} pixels are smaller than one patch of the model, {patch} pixels; use "
            "windows several times as wide as a defect"
        )
    return TileChoice(Tiling(size, overlap), wanted == "auto")
