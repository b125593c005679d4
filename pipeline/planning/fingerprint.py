"""The fingerprint of a run's settings: a row with another one is out of date."""

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pipeline.config import RunConfig
from pipeline.maps.methods import ATTENTION_METHODS, LABEL_METHODS
from pipeline.model.checkpoint import Checkpoint
from pipeline.model.targets import LabelGroup, Targets
from pipeline.photos.decode import rules_version
from pipeline.photos.load_photo import DRAFT_LONGER_SIDE

# The settings of the first version, in its order: tables of all versions stay current. Later settings are appended.
_FIRST_SETTINGS = (
    "model", "input_size", "rescale", "method", "head_fusion", "discard_ratio", "precision", "exact_decode"
)  # fmt: skip


def fingerprint(
    config: RunConfig, checkpoint: Checkpoint, precision: str, targets: Targets, familiarity: str | None = None,
    defect_ids: Sequence[int] = (),
) -> str:  # fmt: skip
    """Hash all settings with an effect on the numbers, and nothing else.

    The settings are the fields declared with `changes_numbers`. Names in them are resolved: a model to the digest of
    its files, labels to ids.

    Args:
        config: all settings.
        checkpoint: the model.
        precision: of the forward pass.
        targets: labels to explain.
        familiarity: digest of the model's statistics for the column unfamiliar; None without them.
        defect_ids: ids of the classes looked for in windows.
    """
    method, *more_methods = config.method
    values = {name: getattr(config, name) for name in config.fingerprint_fields()} | {
        "model": checkpoint.digest(),
        "method": method,
        "precision": precision,
        "exact_decode": "exact" if config.exact_decode else f"draft-{DRAFT_LONGER_SIDE}",
    }
    # a setting unused by all methods of the run counts as its default
    explains_labels = bool(set(config.method) & set(LABEL_METHODS))
    is_used = {
        "always": True,
        "attention maps": bool(set(config.method) & set(ATTENTION_METHODS)),
        "label maps": explains_labels,
    }
    defaults = {name: RunConfig.model_fields[name].default for name in values}
    for name, when in config.fingerprint_fields().items():
        if not is_used[when]:
            values[name] = defaults[name]
    parts: list[Any] = [values.pop(name) for name in _FIRST_SETTINGS]
    if more_methods:
        parts.append(sorted(more_methods))
    for name in (
        "target",
        "versus",
        "labels",
        "positive",
    ):  # in `targets`; photo_fingerprint adds a photo's expected label
        values.pop(name)
    tile, overlap, keep_tiles = (values.pop(name) for name in ("tile", "tile_overlap", "keep_tiles"))
    if explains_labels:
        target = "expected" if targets.expected is not None else _identify_labels(targets.label)
        parts.append([target, _identify_labels(targets.versus)])
    parts += [[name, value] for name, value in values.items() if value != defaults[name]]
    if isinstance(tile, int):
        parts.append(["tile", tile, overlap, *defect_ids])
        if keep_tiles:  # rows without their windows run again
            parts.append(["keep_tiles"])
    if familiarity is not None:
        parts.append(["familiarity", familiarity])
    return _hash_parts(parts)


def _identify_labels(group: LabelGroup | None) -> int | list[Any] | None:
    """Return the id of a class; for a group of several, its word and its ids."""
    if group is None or group.name is None:
        return group.ids[0] if group else None
    return [group.name, *group.ids]


def photo_fingerprint(fingerprint: str, targets: Targets, path: str) -> str:
    """Return the fingerprint of one photo, with its expected label if its maps explain that."""
    if targets.expected is None:
        return _vary_fingerprint(fingerprint, rules_version(path))
    return _hash_with_label(_vary_fingerprint(fingerprint, rules_version(path)), targets.expected.get(path))


@lru_cache  # few for millions of photos
def _vary_fingerprint(fingerprint: str, version: int) -> str:
    return _hash_parts([fingerprint, "decoding", version]) if version > 1 else fingerprint


@lru_cache(maxsize=10_000)
def _hash_with_label(fingerprint: str, label: int | None) -> str:
    return _hash_parts([fingerprint, label])


def _hash_parts(parts: list[Any]) -> str:
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=6).hexdigest()
