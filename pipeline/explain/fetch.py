"""A photo from the web -> a file. A URL is not trusted: neither its address, nor the amount of data, nor its speed.

Only public addresses are connected to; others could show services of this machine and its network to the URL's author.
A name is looked up once, and the checked address is the one connected to: a second look-up could give another. Proxies
of the environment look names up themselves, so they are not used. Neither is ~/.netrc.
"""

import re
import socket
from functools import partial
from ipaddress import IPv4Address, IPv6Network, ip_address
from pathlib import Path

import httpx2

from pipeline.errors import PhotoError, one_line
from pipeline.photos.worker_process import Worker, WorkerDiedError, WorkerTimeoutError

_MOST_REDIRECTS = 5
_CONNECT_SECONDS = 5.0  # then the next address of the name is tried
_HEADERS = {"User-Agent": "vitrollout", "Accept-Encoding": "identity"}
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_NAT64 = IPv6Network("64:ff9b::/96")


def fetch(url: str, file: Path, *, seconds: float, max_bytes: int, allow_private: bool) -> None:
    """Download an http or https URL to a file, in a process of its own.

    Args:
        url: the address.
        file: the download.
        seconds: time limit from the first look-up to the last byte; the process is killed after it.
        max_bytes: size limit on the received data; the size announced by the server is not trusted.
        allow_private: connect to private, loopback and link-local addresses too.

    Raises:
        PhotoError: the URL can't be fetched, or must not be.
    """
    worker = Worker(partial(_download_url, file=file, max_bytes=max_bytes, allow_private=allow_private))
    try:
        worker.run(url, seconds=seconds)
    except (WorkerTimeoutError, WorkerDiedError, PhotoError) as error:
        is_late = isinstance(error, WorkerTimeoutError)
        reason = f"not complete within fetch_seconds = {seconds:g}" if is_late else one_line(error)
        raise PhotoError(f"can't fetch {re.sub('//[^/]*@', '//', url)}: {reason}") from None  # no password
    finally:
        worker.stop()


def is_public(address: str) -> bool:
    """Tell whether an IP address belongs to the internet, not to this machine, its networks or a reserved range."""
    ip = ip_address(address)
    if ip.version == 6 and (ip.ipv4_mapped or ip in _NAT64):  # both lead to the IPv4 address in their last 32 bits
        ip = IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip.version == 6 and (ip not in _GLOBAL_UNICAST or ip in _SIX_TO_FOUR):
        return False
    return ip.is_global and not ip.is_multicast


class _CheckedTransport(httpx2.HTTPTransport):
    """Looks up each name once, checks its addresses, and connects to them. Host and certificate stay the name's."""

    def __init__(self, *, allow_private: bool) -> None:
        # Each connection is used once. Otherwise two names with one address would share it, and one's certificate.
        super().__init__(limits=httpx2.Limits(max_keepalive_connections=0))
        self._allow_private = allow_private

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        url, name = request.url, request.url.raw_host.decode()
        failure: httpx2.TransportError = httpx2.ConnectError(f"{name} has no address")
        for address in self._look_up_addresses(name, url.port):
            pinned = httpx2.Request(
                request.method,
                url.copy_with(host=address),
                headers=request.headers,  # with the name as Host
                extensions=request.extensions | {"sni_hostname": name},
            )
            try:
                return super().handle_request(pinned)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failure = error
        raise failure

    def _look_up_addresses(self, name: str, port: int | None) -> list[str]:
        entries = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
        for address in addresses:
            if not self._allow_private and not is_public(address):
                raise PhotoError(f"{address} is a private or reserved address; --allow-private fetches from those")
        return addresses


def _download_url(url: str, *, file: Path, max_bytes: int, allow_private: bool) -> None:
    """Download a URL to a file, in the worker process. Errors become a `PhotoError`, which can be pickled."""
    transport = _CheckedTransport(allow_private=allow_private)
    timeout = httpx2.Timeout(None, connect=_CONNECT_SECONDS)
    try:
        with httpx2.Client(transport=transport, trust_env=False, timeout=timeout, headers=_HEADERS) as client:
            _save_body(_follow_redirects(client, url), file, max_bytes)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise PhotoError(str(error) or type(error).__name__) from error


def _follow_redirects(client: httpx2.Client, url: str) -> httpx2.Response:
    """Return the response after all redirects. No body is read here: those of redirects may be endless."""
    request = client.build_request("GET", url)
    for _ in range(1 + _MOST_REDIRECTS):
        if request.url.scheme not in ("http", "https"):
            raise PhotoError(f"it leads to {request.url.scheme}://, and only http and https are fetched")
        if request.url.userinfo:
            raise PhotoError("it holds a user name, and none is sent; download the photo and name the file")
        response = client.send(request, stream=True)
        if response.next_request is None:
            return response
        request = response.next_request
    raise PhotoError(f"more than {_MOST_REDIRECTS} redirects")


def _save_body(response: httpx2.Response, file: Path, max_bytes: int) -> None:
    if not response.is_success:
        raise PhotoError(f"the server answered {response.status_code} {response.reason_phrase}")
    size = 0
    with file.open("wb") as out:
        for chunk in response.iter_raw():
            size += len(chunk)
            if size > max_bytes:
                raise PhotoError(f"it is larger than fetch_bytes = {max_bytes}")
            out.write(chunk)
