"""`--tile auto` -> the windows of photos: as the model's config.json or its decision says, or none."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.decision import DECISION_FILE, Decision
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
        reason: for windows that the settings leave open, for the log; else empty.
    """

    tiling: Tiling | None
    reason: str = ""

    @property
    def size(self) -> int | None:
        """Side of a window, pixels of the photo; None: the whole photo."""
        return self.tiling.size if self.tiling else None

    def check_decision(self, decision: Decision | None) -> None:
        """Warn of a decision chosen on other windows."""
        if decision and decision.chosen_on.tile != self.size:
            log.warning(
                "%s was chosen with --tile %s: with --tile %s scores differ, and its thresholds may not fit",
                DECISION_FILE,
                decision.chosen_on.tile or "none",
                self.size or "none",
            )

    def log_reason(self) -> None:
        """Log windows that the settings leave open."""
        if self.tiling and self.reason:
            log.info(
                "tile = %d: %s, so larger photos are cut into them; with --tile none it sees them whole",
                self.tiling.size,
                self.reason,
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


def choose_tile(
    wanted: Literal["auto"] | int | None, overlap: float, checkpoint: Checkpoint, decision: Decision | None = None
) -> TileChoice:
    """Choose the windows of photos.

    Args:
        wanted, overlap: the settings `tile` and `tile_overlap`.
        checkpoint: the model.
        decision: of the model, or None.

    Raises:
        ConfigError: windows are smaller than a patch of the model.
        ModelError: config.json names an impossible size.
    """
    of_decision = decision.chosen_on.tile if decision else None
    size, reason = wanted, ""
    if wanted == "auto":
        size, reason = checkpoint.config.get(TILE_KEY), "the model learned from windows of this size"
    if size is None and wanted == "auto" and of_decision:
        size, reason = of_decision, "the model's decision was chosen on windows of this size"
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
    return TileChoice(Tiling(size, overlap), reason)
