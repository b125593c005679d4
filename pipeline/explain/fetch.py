"""A photo from the web -> a file. Neither where a URL leads is trusted, nor how much it sends, nor how fast.

Only public addresses are connected to, lest somebody's URL shows what only this machine can reach. What is checked
is the address that is then connected to: a name that is looked up twice may lead elsewhere the second time. So
proxies of the environment are not used, which look names up themselves; neither is ~/.netrc.
"""

import re
import socket
from functools import partial
from ipaddress import IPv4Address, IPv6Network, ip_address
from pathlib import Path

import httpx2

from pipeline.errors import PhotoError
from pipeline.photos.worker_process import Worker, WorkerDiedError, WorkerTimeoutError

_MOST_REDIRECTS = 5
_CONNECT_SECONDS = 5.0  # then the next address of the name is tried
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_NAT64 = IPv6Network("64:ff9b::/96")


def fetch(url: str, file: Path, *, seconds: float, max_bytes: int, allow_private: bool) -> None:
    """Write what an http or https URL gives to a file.

    Args:
        url: where it is.
        file: where it goes.
        seconds: for all of it, from the first look-up to the last byte; the process that does it is killed then.
        max_bytes: give up when more arrive, whatever the server announced.
        allow_private: connect to private, loopback and link-local addresses, too.

    Raises:
        PhotoError: it can't be had, or must not.
    """
    worker = Worker(partial(_download, file=file, max_bytes=max_bytes, allow_private=allow_private))
    try:
        worker.run(url, seconds=seconds)
    except (WorkerTimeoutError, WorkerDiedError, PhotoError) as error:
        late = isinstance(error, WorkerTimeoutError)
        reason = f"not there within fetch_seconds = {seconds:g}" if late else " ".join(str(error).split())
        raise PhotoError(f"can't fetch {re.sub('//[^/]*@', '//', url)}: {reason}") from None
    finally:
        worker.stop()


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet's, not of this machine, its networks or a reserved range."""
    ip = ip_address(address)
    if ip.version == 6 and (ip.ipv4_mapped or ip in _NAT64):  # both lead to the IPv4 address in their last 32 bits
        ip = IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip.version == 6 and (ip not in _GLOBAL_UNICAST or ip in _SIX_TO_FOUR):
        return False
    return ip.is_global and not ip.is_multicast


class _CheckedTransport(httpx2.HTTPTransport):
    """Looks each name up once, checks its addresses, and connects to these. Host and certificate stay the name's."""

    def __init__(self, *, allow_private: bool) -> None:
        # no connection is used twice: two names of one address would share it, and one name's certificate
        super().__init__(limits=httpx2.Limits(max_keepalive_connections=0))
        self._allow_private = allow_private

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        url, name = request.url, request.url.raw_host.decode()
        failure: httpx2.TransportError = httpx2.ConnectError(f"{name} has no address")
        for address in self._addresses(name, url.port):
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

    def _addresses(self, name: str, port: int | None) -> list[str]:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not self._allow_private and (others := [address for address in addresses if not is_public(address)]):
            raise PhotoError(f"{others[0]} is a private or reserved address; --allow-private fetches from those")
        return addresses


def _download(url: str, *, file: Path, max_bytes: int, allow_private: bool) -> None:
    """What `fetch` does, in a process of its own. Every error is a `PhotoError`, which can be pickled."""
    timeout = httpx2.Timeout(None, connect=_CONNECT_SECONDS)
    headers = {"User-Agent": "vitrollout", "Accept-Encoding": "identity"}
    transport = _CheckedTransport(allow_private=allow_private)
    try:
        with httpx2.Client(transport=transport, trust_env=False, timeout=timeout, headers=headers) as client:
            _save(_follow(client, url), file, max_bytes)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise PhotoError(str(error) or type(error).__name__) from error


def _follow(client: httpx2.Client, url: str) -> httpx2.Response:
    """The response at the end of the redirects, its body unread; nor are theirs read, which may be endless."""
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


def _save(response: httpx2.Response, file: Path, max_bytes: int) -> None:
    if not response.is_success:
        raise PhotoError(f"the server answered {response.status_code} {response.reason_phrase}")
    size = 0
    with file.open("wb") as out:
        for chunk in response.iter_raw():
            size += len(chunk)
            if size > max_bytes:
                raise PhotoError(f"it is larger than fetch_bytes = {max_bytes}")
            out.write(chunk)
