"""The model families whose attention can be captured: the one list of what is supported."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """How the tokens of one family are laid out: readout tokens, registers, then the patches row by row.

    Attributes:
        readout_tokens: leading tokens that a rollout starts from: the classification token, and DeiT's
            distillation token. 0: there is none, and it starts from the mean over all tokens.
        has_registers: the config's `num_register_tokens` follow them.
    """

    readout_tokens: int
    has_registers: bool = False


FAMILIES = {
    "vit": Family(readout_tokens=1),
    "deit": Family(readout_tokens=2),
    "beit": Family(readout_tokens=1),
    "dinov2": Family(readout_tokens=1),
    "dinov2_with_registers": Family(readout_tokens=1, has_registers=True),
    "ijepa": Family(readout_tokens=0),
    "vit_msn": Family(readout_tokens=1),
    "siglip": Family(readout_tokens=0),
    "clip": Family(readout_tokens=1),
    "metaclip_2": Family(readout_tokens=1),
}
