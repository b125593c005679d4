"""The names of everything in a results folder.

OUT/table/part-<run_id>-<00000>.parquet   finished parts and nothing else, ever
OUT/tiles/part-<run_id>-<00000>.parquet   the windows of large photos, with --keep-tiles: those of the table's part
OUT/overlays/<path>.png                   one for each photo
OUT/thumbnails/                           photo and overlay, small, for the report
OUT/runs/<run_id>.json                    written last
OUT/runs/<run_id>.plan.parquet, .open     the photos of a run by shard, and its draft record; removed with the run's end
OUT/runs/<fingerprint>.model-scale, .run-scale   one scale for the overlays of all runs with these settings
OUT/runs/<run_id>.next                    in a store of objects: the id of the run after this one, created once
OUT/report.html, OUT/report/              the page and its data
OUT/tmp/                                  files being written; swept at the next start
OUT/reviews/                              people's decisions, see `pipeline.reviews.files`; never removed by a run
OUT/damaged/                              parts set aside by --repair
OUT/.lock, OUT/.lock.holder               the lock of a run; the second on disks without locks
"""

import hashlib
import re
import unicodedata
from datetime import UTC, datetime, timedelta

from pipeline.storage.files import list_names
from pipeline.storage.location import Location

TABLE, TILES, OVERLAYS, THUMBNAILS, RUNS = "table", "tiles", "overlays", "thumbnails", "runs"
TMP, DAMAGED = "tmp", "damaged"
REPORT_PAGE, REPORT_DATA = "report.html", "report"

PART_NAME = re.compile(r"part-\d{8}T\d{6}Z-\d+\.parquet")  # other files in table/ are not ours
PLAN_SUFFIX, OPEN_SUFFIX, TURN_SUFFIX = ".plan.parquet", ".open", ".next"  # of files in runs/
MODEL_SCALE, RUN_SCALE = ".model-scale", ".run-scale"  # of files in runs/
_RUN_ID = "%Y%m%dT%H%M%SZ"
RUN_ID_SHAPE = re.compile(r"\d{8}T\d{6}Z")
_RECORD_NAME = re.compile(rf"{RUN_ID_SHAPE.pattern}\.json")

_LONGEST_NAME = 255  # bytes, on every common file system
_LONGEST_PATH = 2000  # bytes below OUT; systems allow some 4,096 for the whole path
_LONGEST_SAFE_NAME = 60  # of the photo's own name in a safe one; encrypted file systems allow 143 bytes in all


def part_name(run_id: str, number: int) -> str:
    """Name a part of the table."""
    return f"part-{run_id}-{number:05d}.parquet"


def run_id_of_part(part: Location) -> str:
    """Return the run, or the compaction, behind a part."""
    return part.stem.split("-")[1]


def next_run_id(taken: list[str]) -> str:
    """Return the current time as a run id, but always later than every earlier run, even after the clock went back."""
    now = datetime.now(UTC)
    if taken and now.strftime(_RUN_ID) <= max(taken):
        now = datetime.strptime(max(taken), _RUN_ID) + timedelta(seconds=1)
    return now.strftime(_RUN_ID)


def part_files(out: Location) -> list[Location]:
    """List the finished parts of a results folder in the order of their commit."""
    return [out / TABLE / name for name in list_names(out / TABLE) if PART_NAME.fullmatch(name)]


def record_files(out: Location) -> list[Location]:
    """List the record files of a results folder, oldest run first; other files in runs/ are not ours."""
    return [out / RUNS / name for name in list_names(out / RUNS) if _RECORD_NAME.fullmatch(name)]


def overlay_name(path: str, *, clashes: bool = False) -> str:
    """Name a photo's overlay, relative to OUT: `overlays/<path>.png`, unique for each photo.

    Long names are truncated and get a hash. A folder called `x.png` gets a `~`, because `x.png` is also the name
    of the overlay of a photo `x` beside it.

    Args:
        path: of the photo.
        clashes: some disks take its name for another photo's: it gets a hash.
    """
    if path.startswith("/") or "://" in path or ".." in path.split("/"):  # of a list, outside its folder
        parts = [part.rstrip(":") for part in path.split("/") if part.strip(".")]
        clashes, digest, path = True, _hash_name(path), "/".join(["~", *parts])
    else:
        digest = _hash_name(path)
    *folders, name = path.split("/")
    folders = [_truncate_name(re.sub(r"(\.png~*)$", r"\1~", folder, flags=re.IGNORECASE)) for folder in folders]
    suffix = f"~{digest}.png" if clashes else ".png"
    overlay = "/".join([OVERLAYS, *folders, _truncate_name(name, suffix)])
    if len(overlay.encode()) > _LONGEST_PATH:
        return f"{OVERLAYS}/~/{_hash_name(path)}.png"
    return overlay


def safe_overlay_name(overlay: str) -> str:
    """Name an overlay in plain ASCII without its folders, for a disk with other rules for names."""
    name = overlay.rpartition("/")[2].removesuffix(".png")
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:_LONGEST_SAFE_NAME]
    return f"{OVERLAYS}/~/_{plain}~{_hash_name(overlay)}.png"


def fold_name(path: str) -> str:
    """Return the same text for all names indistinguishable on some disk.

    Such disks ignore case, store another Unicode form, or drop dots and blanks at the end of a name.
    """
    if not path.isascii():
        path = unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())
    path = path.lower()
    has_tail = path.endswith((".", " ")) or "./" in path or " /" in path  # a regex takes ten times as long
    return re.sub(r"[. ]+(?=/|$)", "", path) if has_tail else path


def thumbnail_name(overlay: str) -> str:
    """Name the thumbnail of an overlay, relative to OUT; short and plain for any photo."""
    digest = _hash_name(overlay)
    return f"{THUMBNAILS}/{digest[:2]}/{digest}.jpg"


def _truncate_name(name: str, suffix: str = "") -> str:
    """Truncate to 255 bytes and append a hash.

    Names that already end like a truncated one get a hash too, so they stay unique.
    """
    if len((name + suffix).encode()) <= _LONGEST_NAME and not re.search("~[0-9a-f]{16}$", name):
        return name + suffix
    tail = f"~{_hash_name(name)}{suffix}"
    return name.encode()[: _LONGEST_NAME - len(tail)].decode("utf-8", "ignore") + tail


def _hash_name(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
