"""The supported model families: all with capturable attention."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """The order of tokens in one family: readout tokens, registers, then the patches row by row.

    Attributes:
        readout_tokens: leading tokens read by the classifier, the start of a rollout: the classification token, and
            DeiT's distillation token. 0: there is none, and a rollout starts from the mean over all tokens.
        has_registers: followed by `num_register_tokens` of the config.
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
