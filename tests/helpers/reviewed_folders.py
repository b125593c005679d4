"""Results folders with real photos, and reviews of them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.photos.content import hash_file
from pipeline.records import ImageRef
from pipeline.results.read import read_results
from pipeline.reviews.record import ReviewRecord, Verdict, current_moment, new_record_id
from pipeline.reviews.session import ReviewSession
from tests.helpers.photos import save_photos
from tests.helpers.tables import make_row, write_run


def review_photos(
    out: Path, labels: Mapping[str, str], *, who: str = "ann", verdicts: Mapping[str, Verdict] | None = None
) -> None:
    """Write one record for each photo in a session of its own.

    Args:
        out: results folder.
        labels: label by path.
        who: the person.
        verdicts: other verdicts than a label, by path.
    """
    frame = read_results(out, columns=["path", "content_hash", "width", "height", "label"]).set_index("path")
    with ReviewSession(out, who) as session:
        for path in [*labels, *(verdicts or {})]:
            row, label = frame.loc[path], labels.get(path)
            record = ReviewRecord(
                id=new_record_id(), at=current_moment(), who=who, session=session.name, path=path,
                content_hash=row["content_hash"], width=int(row["width"]), height=int(row["height"]),
                verdict=(verdicts or {}).get(path) or ("confirmed" if label == row["label"] else "corrected"),
                label_before=row["label"], label=label,
            )  # fmt: skip
            assert session.append(record)


def save_results_folder(folder: Path, names: Sequence[str], **changes) -> Path:
    """Save different photos under `folder`/photos with these names, and a table of them; return the results folder.

    Args:
        folder: made where it is missing.
        names: paths of the photos.
        **changes: further columns of the rows.
    """
    photos, out = folder / "photos", folder / "results"
    for name, saved in zip(names, save_photos(photos, len(names)), strict=True):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(photos / saved, photos / name)
    write_run(out, photos, [make_photo_row(photos, name, **changes) for name in names])
    return out


def make_photo_row(photos: Path, name: str, **changes):
    """Return the row of a photo on the disk."""
    status = (photos / name).stat()
    content_hash = hash_file(ImageRef(name, None, str(photos / name), status.st_size, status.st_mtime_ns))
    own = {"content_hash": content_hash, "file_bytes": status.st_size, "mtime": status.st_mtime_ns}
    return make_row(name, **own | changes)
