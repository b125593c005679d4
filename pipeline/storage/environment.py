"""The environment of object stores: credentials and endpoints, checked before the first request.

Without credentials, clients of these stores ask a metadata service of the machine. That is a request to a host nobody
named, and off the cloud a wait of a minute, so missing credentials are refused here.
"""

import os
from collections.abc import Mapping
from itertools import chain
from urllib.parse import urlsplit

from pipeline.errors import ConfigError
from pipeline.storage.location import ObjectUrl

_S3_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_ENDPOINTS: Mapping[str, tuple[str, ...]] = {
    "s3": _S3_ENDPOINTS,
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
CREDENTIALS: Mapping[str, str] = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_PUBLIC: Mapping[str, str] = {"s3": "AWS_SKIP_SIGNATURE", "gs": "GOOGLE_SKIP_SIGNATURE", "az": "AZURE_SKIP_SIGNATURE"}
# Any of these groups will do, each whole. The later ones of S3 are those that Kubernetes and ECS set for their jobs.
_GROUPS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "s3": (
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
    ),
    "gs": (
        ("GOOGLE_APPLICATION_CREDENTIALS",),
        ("GOOGLE_SERVICE_ACCOUNT",),
        ("GOOGLE_SERVICE_ACCOUNT_PATH",),
        ("GOOGLE_SERVICE_ACCOUNT_KEY",),
    ),
    "az": (
        ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_SAS_TOKEN"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE"),
    ),
}


def read_environment(scheme: str) -> tuple[str | None, ...]:
    """Return the values of all variables that matter for a store; a client is made for them."""
    names = (*chain(*_GROUPS[scheme]), *_ENDPOINTS[scheme], *_REGIONS, "AWS_SESSION_TOKEN", _PUBLIC[scheme])
    return tuple(map(os.environ.get, names))


def check_environment(url: ObjectUrl) -> None:
    """Check that the environment names credentials, or a public bucket, and an endpoint of the right form.

    Raises:
        ConfigError: names the variables to set.
    """
    _check_endpoint(url)
    if is_public(url.scheme):
        return
    groups = _GROUPS[url.scheme]
    if any(all(map(os.environ.get, group)) for group in groups):
        return
    for group in groups:
        missing = [name for name in group if not os.environ.get(name)]
        if missing != list(group) and group[0] not in missing:
            raise ConfigError(f"{_bucket_of(url)}: {group[0]} is set without {' and '.join(missing)}; set them too")
    raise ConfigError(
        f"{_bucket_of(url)}: no credentials in the environment; set {CREDENTIALS[url.scheme]}, or "
        f"{_PUBLIC[url.scheme]}=true for a public bucket"
    )


def is_public(scheme: str) -> bool:
    """Tell whether requests go out without a signature, as for public buckets."""
    return os.environ.get(_PUBLIC[scheme], "").lower() in ("1", "true", "yes", "on")


def allows_http(scheme: str) -> bool:
    """Tell whether the endpoint of the environment is one without TLS."""
    return (_read_endpoint(scheme) or "").startswith("http://")


def endpoint_config(url: ObjectUrl) -> dict[str, str]:
    """Return the settings of a client that differ from its own reading of the environment."""
    if url.scheme != "s3":
        return {}
    config = {"region": next(filter(None, map(os.environ.get, _REGIONS)), "us-east-1")}
    if endpoint := _read_endpoint("s3"):
        config["endpoint"] = endpoint
    return config


def endpoint_host(url: ObjectUrl) -> str:
    """Name the host of a store, for messages; never with credentials."""
    endpoint = urlsplit(_read_endpoint(url.scheme) or "")
    if not endpoint.hostname:
        return {"s3": "Amazon S3", "gs": "Google Cloud Storage", "az": "Azure Blob Storage"}[url.scheme]
    return endpoint.hostname + (f":{endpoint.port}" if endpoint.port else "")


def endpoint_variable(scheme: str) -> str:
    """Name the variable to set for an endpoint."""
    names = _ENDPOINTS[scheme]
    return next(filter(os.environ.get, names), names[-2] if scheme == "s3" else names[0])


def _read_endpoint(scheme: str) -> str | None:
    return next(filter(None, map(os.environ.get, _ENDPOINTS[scheme])), None)


def _check_endpoint(url: ObjectUrl) -> None:
    endpoint = _read_endpoint(url.scheme)
    if endpoint is None:
        return
    try:
        parts = urlsplit(endpoint)
        is_complete = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number
        is_complete = False
    if not is_complete:
        name = endpoint_variable(url.scheme)
        raise ConfigError(f"{_bucket_of(url)}: {name} is not a whole URL; write it as https://HOST:PORT")


def _bucket_of(url: ObjectUrl) -> str:
    return f"{url.scheme}://{url.bucket}"
