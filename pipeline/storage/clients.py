"""The clients of object stores, one a bucket, and their faults in the words of this program.

A client has threads of its own, which a fork doesn't copy: in a forked process its first request would wait for ever.
So decoders, forked from the main process, get bytes and never a client; see `pipeline.photos.loader`.
"""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from pipeline.errors import ConfigError, StoreError
from pipeline.storage.environment import (
    CREDENTIALS,
    allows_http,
    check_environment,
    endpoint_config,
    endpoint_host,
    endpoint_variable,
    is_public,
    read_environment,
)
from pipeline.storage.location import ObjectUrl

_RETRIES = {
    "max_retries": 4,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=3), "base": 2},
}
_TIMEOUTS = {"connect_timeout": timedelta(seconds=5), "timeout": timedelta(seconds=120)}
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "InvalidBucketName")
_OTHER_REGION = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")

_USELESS_CREDENTIALS = (
    "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "RequestTimeTooSkewed", "SignatureDoesNotMatch",
)  # fmt: skip

_clients: dict[Any, Any] = {}  # by bucket and environment
_lock = threading.Lock()
_owner: int | None = None  # the process that made the clients


class ObjectRefusedError(StoreError):
    """A store refuses one object, for reasons of its own; others may be fine."""


class BadKeyError(StoreError):
    """A key without a place in a tree of folders: clients can't name it."""


class ObjectChangedError(Exception):
    """An object is no longer the version asked for."""


def open_client(url: ObjectUrl) -> Any:
    """Return the client of a bucket; it is made at the first call.

    Raises:
        ConfigError: obstore isn't installed, or the environment lacks credentials.
        RuntimeError: called in a process forked from one with clients.
    """
    global _owner
    if _owner not in (None, os.getpid()):
        raise RuntimeError(f"{url}: a forked process can't use the clients of its parent; start it by spawn")
    with _lock:
        key = (url.scheme, url.bucket, read_environment(url.scheme))
        if key not in _clients:
            _clients[key] = _make_client(url)
            _owner = os.getpid()
        return _clients[key]


@contextmanager
def explain_faults(url: ObjectUrl) -> Iterator[None]:
    """Raise the faults of requests as errors in one line, without anything that might hold a secret.

    Raises:
        FileNotFoundError: there is no such object.
        ObjectChangedError: it has another version.
        StoreError: any other fault.
    """
    from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

    try:
        yield
    except (AlreadyExistsError, FileExistsError):
        raise
    except PreconditionError:
        raise ObjectChangedError(f"{url} has changed") from None
    except FileNotFoundError as error:
        if _find_code(str(error)) in _NO_BUCKET:
            raise _describe_fault(url, error) from None
        raise FileNotFoundError(f"{url}: no such object") from None
    except (BaseError, OSError, ValueError) as error:
        raise _describe_fault(url, error) from None  # its text may hold signed URLs and keys


@contextmanager
def at_start() -> Iterator[None]:
    """Raise faults of a store as faults of the settings: nothing has been processed yet."""
    try:
        yield
    except StoreError as error:
        raise ConfigError(str(error)) from None


def _make_client(url: ObjectUrl) -> Any:
    try:
        from obstore.store import AzureStore, GCSStore, S3Store
    except ImportError:
        raise ConfigError(f"{url}: object stores need a package; pip install 'vitrollout[cloud]'") from None
    check_environment(url)
    options = _TIMEOUTS | {"allow_http": allows_http(url.scheme)}
    store = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[url.scheme]
    config: dict[str, Any] = endpoint_config(url)
    if is_public(url.scheme):
        config["skip_signature"] = True
    try:
        return store(url.bucket, config=config, client_options=options, retry_config=_RETRIES)
    except Exception:  # obstore raises several kinds; their texts may hold what stands in the environment
        names = f"{CREDENTIALS[url.scheme]} and {endpoint_variable(url.scheme)}"
        raise ConfigError(f"{url}: the client can't be set up; check {names} in the environment") from None


def _describe_fault(url: ObjectUrl, error: Exception) -> StoreError:
    from obstore.exceptions import InvalidPathError, PermissionDeniedError, UnauthenticatedError

    text = str(error)
    code, status = _find_code(text), _find_status(text)
    bucket, host = f"{url.scheme}://{url.bucket}", endpoint_host(url)
    if code in _NO_BUCKET:
        return StoreError(f"{bucket}: there is no such bucket at {host}; create it, or correct its name")
    if isinstance(error, InvalidPathError | ValueError):
        return BadKeyError(f"{url}: a key with an empty part, . or .. between slashes can't be read; rename the object")
    if code in _OTHER_REGION or "Received redirect" in text:
        return StoreError(f"{bucket}: the bucket is in another region; set AWS_REGION")
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or status in (401, 403):
        answer = f" ({code})" if code else ""
        kind = StoreError if code in _USELESS_CREDENTIALS else ObjectRefusedError
        return kind(f"{url}: access is denied{answer}; check {CREDENTIALS[url.scheme]}, and their rights there")
    if status is None:
        name = endpoint_variable(url.scheme)
        return StoreError(f"{url}: {host} doesn't answer; check the network and {name}, then run again")
    kind = ObjectRefusedError if status < 500 else StoreError
    return kind(f"{url}: {host} answered {status}{f' ({code})' if code else ''}; run again to go on")


def _find_code(text: str) -> str | None:
    """Return the error code of a store's answer: one word, so nothing else of the answer comes along."""
    match = re.search(r"<Code>([A-Za-z]{1,60})</Code>", text)
    return match[1] if match else None


def _find_status(text: str) -> int | None:
    match = re.search(r"status code: (\d{3})\b", text)
    return int(match[1]) if match else None
