"""Names a walk leaves out, each with its reason: things of the system, and pictures in forms that can't be read."""

import logging
import re
from collections import Counter
from collections.abc import Mapping
from fnmatch import fnmatchcase

from pipeline.photos.decode import HEIF_EXTENSIONS, extensions

log = logging.getLogger(__name__)

# Folders made by systems, not by people. Names are compared without case. Folders with a leading dot are left out
# anyway; those listed here are named with their reason.
_SYSTEM_FOLDERS = {
    "thumbnails": (
        "@eaDir", ".@__thumb", "@__thumb", ".thumbnails", ".thumbs", ".thumb", ".thumbcache", "appdata_oc*"
    ),
    "waste basket": (
        "#recycle", "@Recycle", ".recycle", "$RECYCLE.BIN", "RECYCLER", "Recycle Bin", "Network Recycle Bin*",
        ".Trash*", "Network Trash Folder", ".dtrash", "trashbox", "files_trashbin",
    ),
    "snapshots": (
        ".snapshot", ".snapshots", "#snapshot", "~snapshot", "@Recently-Snapshot", "@GMT-*", ".zfs", ".stversions",
        "files_versions",
    ),
    "resource forks of macOS": ("__MACOSX", ".AppleDouble", ".AppleDB", ".AppleDesktop", "Temporary Items"),
    "notebook copies": (".ipynb_checkpoints",),
    "of the file system": ("lost+found", "LOST.DIR", "found.[0-9][0-9][0-9]", "System Volume Information", "$Extend"),
    "of the NAS": ("@tmp", "@SynoResource", "@SharedFolder"),
}  # fmt: skip
_NAS_THUMBNAIL = re.compile(r"SYNO(PHOTO|FILE)[_:]THUMB", re.IGNORECASE)
_APPLE_DOUBLE = bytes.fromhex("00051607")

# Extensions of pictures and of parts of pictures that no decoder here reads.
_UNREADABLE = {
    "camera raw": "3fr ari arw bay braw cr2 cr3 crw dcr dcs dng drf eip erf fff gpr iiq k25 kdc mdc mef mos mrw nef "
    "nrw orf pef ptx pxn r3d raf raw rw2 rwl rwz sr2 srf srw x3f",
    "JPEG XL": "jxl",
    "JPEG XR": "jxr wdp hdp",
    "JPEG-LS": "jls",
    "JPEG 2000 of another kind": "jpf jpc j2c jpm jph jhc",
    "HEIF: rename it to .heic": "hif heics heifs avci avcs",
    "of an image editor": "psd psb xcf kra afphoto",
    "high dynamic range": "exr hdr dpx cin pfm",
    "DICOM": "dcm dicom",
    "FITS": "fits fit fts",
    "microscope or slide": "czi lif nd2 oif oib vsi svs ndpi mrxs scn",
    "geodata": "ecw sid nitf ntf",
    "not a supported format": "bpg flif qoi pcx pam sgi ras dds",
    "unfinished": "part partial crdownload download opdownload filepart tmp temp icloud aria2 !ut !qb bc! unfinished "
    "incomplete downloading uploading",
}
_REASON_OF = {extension: reason for reason, listed in _UNREADABLE.items() for extension in listed.split()}


def find_folder_rule(name: str) -> str | None:
    """Return the rule against a folder of this name, None for a folder to enter."""
    lower = name.lower()
    for reason, patterns in _SYSTEM_FOLDERS.items():
        for pattern in patterns:
            if fnmatchcase(lower, pattern.lower()):
                return f"{pattern}/ ({reason})"
    return ".*/ (hidden folder)" if name.startswith(".") else None


def find_file_rule(name: str) -> str | None:
    """Return the rule against a file of this name, None for a file to take."""
    if name.startswith("._"):
        return "._* (resource fork of macOS)"
    if _NAS_THUMBNAIL.match(name):
        return "SYNO* (thumbnail of a NAS)"
    return ".* (hidden file)" if name.startswith(".") else None


def is_apple_double(name: str, file: str) -> bool:
    """Tell whether a file is a resource fork of macOS: named as the photo, without a picture in it."""
    if not name.startswith("._"):
        return False
    try:
        with open(file, "rb") as stream:
            return stream.read(len(_APPLE_DOUBLE)) == _APPLE_DOUBLE
    except OSError:
        return False


def find_format_problem(name: str) -> str | None:
    """Return the reason why a picture can't be read, by its extension; None for photos and for other files."""
    extension = extension_of(name)
    if extension in HEIF_EXTENSIONS and extension not in extensions():
        return f".{extension} (pip install 'vitrollout[heif]')"
    reason = _REASON_OF.get(extension)
    return f".{extension} ({reason})" if reason else None


def is_unfinished(name: str) -> bool:
    """Tell whether a file is half a download or copy, by its extension."""
    return _REASON_OF.get(extension_of(name)) == "unfinished"


def extension_of(name: str) -> str:
    """Return the extension in lower case, without the dot; empty without one."""
    stem, _, extension = name.rpartition(".")
    return extension.lower() if stem else ""


def format_left_out(left_out: Mapping[str, int]) -> str:
    """Format counts by reason: `2 .heic (pip install 'vitrollout[heif]'), 1 .nef (camera raw)`."""
    return ", ".join(f"{count} {reason}" for reason, count in left_out.items())


def log_left_out(left_out: Mapping[str, int]) -> None:
    """Log one line about everything left out of a walk, if there is anything."""
    if left_out:
        log.info("left out: %s", format_left_out(left_out))


def sort_left_out(left_out: Counter[str]) -> dict[str, int]:
    """Return the counts by reason, largest first."""
    return dict(sorted(left_out.items(), key=lambda item: (-item[1], item[0])))
