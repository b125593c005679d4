"""The place of a file or a folder: a path of this machine, or the URL of an object. A pure value, without I/O."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pipeline.errors import ConfigError

SCHEMES = ("s3", "gs", "az")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)/?(.*)", re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}")


@dataclass(frozen=True, order=True, slots=True)
class ObjectUrl:
    """An object, or a prefix of objects, in a bucket.

    Attributes:
        scheme: s3 (Amazon S3 and compatible stores), gs (Google Cloud Storage) or az (Azure Blob Storage).
        bucket: its name; of the container on Azure.
        key: without slashes at its ends; empty for the whole bucket.
    """

    scheme: str
    bucket: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}".rstrip("/")

    def __fspath__(self) -> str:
        """Return the URL as text; records name folders and URLs alike."""
        return str(self)

    def __truediv__(self, name: str) -> "ObjectUrl":
        """Return the URL of an object below this one."""
        return ObjectUrl(self.scheme, self.bucket, f"{self.key}/{name}".strip("/"))

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its extension."""
        stem, dot, _ = self.name.rpartition(".")
        return stem if dot and stem else self.name

    @property
    def parent(self) -> "ObjectUrl":
        """The prefix that holds this object; the bucket is its own parent."""
        return ObjectUrl(self.scheme, self.bucket, self.key.rpartition("/")[0])

    def is_relative_to(self, other: "ObjectUrl") -> bool:
        """Tell whether this is the other URL, or lies below it."""
        same_bucket = (self.scheme, self.bucket) == (other.scheme, other.bucket)
        return same_bucket and (not other.key or f"{self.key}/".startswith(f"{other.key}/"))


Location: TypeAlias = Path | ObjectUrl


def is_url(text: str) -> bool:
    """Tell whether a text begins like a URL."""
    return _URL.match(text) is not None


def parse_location(text: str | Location) -> Location:
    """Return the place named by a path or a URL; places stay as they are.

    Raises:
        ConfigError: a URL of another kind, or without a usable bucket or key. It never repeats credentials.
    """
    match = _URL.match(text) if isinstance(text, str) else None
    if match is None:
        return Path(text) if isinstance(text, str) else text
    scheme, bucket, key = match[1].lower(), match[2], match[3].strip("/")
    if scheme not in SCHEMES:
        raise ConfigError(f"{scheme}:// is not supported; name a path, or a URL with {', '.join(SCHEMES)}")
    if "@" in bucket:
        raise ConfigError(f"{scheme}://: credentials don't belong in a URL; set them in the environment")
    if not _BUCKET.fullmatch(bucket):
        raise ConfigError(f"{scheme}://{bucket}: not the name of a bucket; write {scheme}://BUCKET/FOLDER")
    if any(part in ("", ".", "..") for part in key.split("/")) and key:
        raise ConfigError(f"{scheme}://{bucket}/{key}: has an empty part, . or .. between slashes; leave it out")
    return ObjectUrl(scheme, bucket, key)


def display_text(text: str) -> str:
    """Return a text for messages, without the credentials of a URL."""
    return re.sub(r"://[^/]*@", "://", text)
