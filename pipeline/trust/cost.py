"""The time of a measurement, told after its first photos."""

from tqdm import tqdm

from pipeline.trust.config import TrustConfig

_LONG = 600  # seconds: worth a way to spend less
_FEW_STEPS = 3
_FEWEST_PHOTOS = 20


def describe_cost(seconds_a_photo: float, photos: int, config: TrustConfig) -> str:
    """Describe the time of all photos and, if it is long, the settings for less.

    Args:
        seconds_a_photo: measured on the first photos.
        photos: number of photos to measure.
        config: the settings.
    """
    total = seconds_a_photo * photos
    cost = f"{seconds_a_photo:.2g} s a photo: {photos} photos take about {tqdm.format_interval(total)}"
    if total <= _LONG:
        return cost
    ways = []
    limit = max(_FEWEST_PHOTOS, int(_LONG / seconds_a_photo))
    if limit < photos:
        ways.append(f"--limit {limit} (about {tqdm.format_interval(limit * seconds_a_photo)})")
    if len(config.methods) > 2:
        ways.append(f"--methods with fewer than {len(config.methods)}")
    if config.steps > _FEW_STEPS:
        ways.append(f"--steps {_FEW_STEPS} instead of {config.steps}")
    return f"{cost}; for less: {', '.join(ways)}" if ways else cost
