"""Photos from the web, by a real server: downloads, refusals and time limits."""

import socket

import pytest

from pipeline.errors import PhotoError
from pipeline.explain.fetch import fetch, is_public
from tests.helpers.web_server import CERTIFICATE, NAME, WebServer, answer, endless, redirect

PUBLIC = "93.184.216.34"
PHOTO = bytes(range(256)) * 100


@pytest.fixture
def server():
    with WebServer().running() as running:
        running.pages["/photo.png"] = PHOTO
        yield running


@pytest.fixture
def get(tmp_path):
    """A function from a URL to its bytes."""

    def get(url, **options):
        file = tmp_path / "photo"
        fetch(url, file, **{"seconds": 20, "max_bytes": 100_000, "allow_private": True} | options)
        return file.read_bytes()

    return get


@pytest.fixture
def internet(monkeypatch):
    """A look-up table of names, with the answers in turn. Connections reach only servers of this test."""
    really_look_up, really_connect = socket.getaddrinfo, socket.create_connection
    names = {NAME: [[PUBLIC]]}

    def look_up(host, port, *arguments, **options):
        if host not in names:
            assert not host.strip("0123456789.:abcdef"), f"{host} would be looked up on the real internet"
            return really_look_up(host, port, *arguments, **options)
        answers = names[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    def connect(address, *arguments, **options):
        host, port = address
        if host != PUBLIC:
            raise ConnectionRefusedError(f"nothing listens at {host}")
        return really_connect(("127.0.0.1", port), *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "create_connection", connect)
    return names


def test_photo_arrives_as_it_is(server, get):
    assert get(server.url("/photo.png")) == PHOTO
    ((path, headers),) = server.requests
    assert path == "/photo.png"
    assert headers["Host"] == f"127.0.0.1:{server.port}"
    assert not {"Authorization", "Cookie"} & set(headers)


def test_letters_of_all_kinds_in_a_url(server, get):
    server.pages["/f%C3%B6to%201.png?a=b%20c"] = PHOTO
    assert get(server.url("/föto 1.png?a=b c")) == PHOTO


def test_exactly_as_many_bytes_as_allowed(server, get):
    assert get(server.url("/photo.png"), max_bytes=len(PHOTO)) == PHOTO
    with pytest.raises(PhotoError, match=f"larger than fetch_bytes = {len(PHOTO) - 1}"):
        get(server.url("/photo.png"), max_bytes=len(PHOTO) - 1)


@pytest.mark.parametrize("status", [404, 500])
def test_errors_of_the_server_are_named(server, get, status):
    server.pages["/broken"] = lambda handler: handler.send_error(status, "Gone fishing")
    with pytest.raises(PhotoError, match=f"/broken: the server answered {status} Gone fishing"):
        get(server.url("/broken"))


def test_half_a_photo_is_no_photo(server, get):
    server.pages["/half"] = lambda handler: answer(handler, PHOTO, Content_Length=str(2 * len(PHOTO)))
    with pytest.raises(PhotoError, match="/half: "):
        get(server.url("/half"))


def test_nobody_listens(get):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(PhotoError, match="refused"):
            get(f"http://127.0.0.1:{closed.getsockname()[1]}/")


@pytest.mark.parametrize("url", ["http://", "http:///photo.png", "http://[::1", "http://a:99999/", "http://a\x00b/"])
def test_malformed_urls(get, url):
    with pytest.raises(PhotoError, match="can't fetch "):
        get(url)


def test_proxies_of_the_environment_are_not_asked(server, get, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert get(server.url("/photo.png")) == PHOTO


# Amount and time


def test_endless_photo_is_cut_off(server, get):
    server.pages["/endless"] = endless()
    with pytest.raises(PhotoError, match="larger than fetch_bytes = 100000"):
        get(server.url("/endless"))


def test_endless_body_of_a_redirect_is_not_read(server, get):
    server.pages["/endless"] = endless(302, Location="/photo.png")
    assert get(server.url("/endless")) == PHOTO


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.0 200 OK\r\nX-Slow: ", b"HTTP/1.0 200 OK\r\n\r\nhalf a"])
def test_a_slow_server_is_given_up(server, get, begin):
    """Before its answer, in the middle of its headers, and of its body."""

    def slow(handler):
        handler.wfile.write(begin)
        server.closing.wait()

    server.pages["/slow"] = slow
    with pytest.raises(PhotoError, match=r"/slow: not complete within fetch_seconds = 0\.3"):
        get(server.url("/slow"), seconds=0.3)


def test_a_dripping_server_gains_no_time(server, get):
    def dripping(handler):
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
        while not server.closing.wait(0.01):
            handler.wfile.write(b".")

    server.pages["/dripping"] = dripping
    with pytest.raises(PhotoError, match="not complete within"):
        get(server.url("/dripping"), seconds=0.3)


# Addresses and redirects


def test_redirects_are_followed_to_their_end(server, get):
    for hop in range(5):
        server.pages[f"/{hop}"] = redirect(f"/{hop + 1}", status=(301, 302, 303, 307, 308)[hop])
    server.pages["/5"] = PHOTO
    assert get(server.url("/0")) == PHOTO
    server.pages["/more"] = redirect("/0")
    with pytest.raises(PhotoError, match="more than 5 redirects"):
        get(server.url("/more"))


@pytest.mark.parametrize("place", ["ftp://127.0.0.1/a.png", "file:///etc/passwd", "gopher://127.0.0.1/"])
def test_only_http_and_https(server, get, place):
    server.pages["/elsewhere"] = redirect(place)
    for url in (place, server.url("/elsewhere")):
        with pytest.raises(PhotoError, match="only http and https are fetched"):
            get(url)


def test_names_and_passwords_are_neither_sent_nor_shown(server, get):
    with_password = server.url("/photo.png", host="me:secret@127.0.0.1")
    server.pages["/elsewhere"] = redirect(with_password)
    for url in (with_password, server.url("/elsewhere")):
        with pytest.raises(PhotoError, match="holds a user name, and none is sent") as caught:
            get(url)
        assert "secret" not in str(caught.value)
    assert [path for path, _ in server.requests] == ["/elsewhere"]


@pytest.mark.parametrize(
    ("address", "public"),
    [
        (PUBLIC, True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::5db8:d822", True),  # the same through NAT64
        ("127.0.0.1", False),
        ("127.8.9.10", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("192.0.2.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("::127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::7f00:1", False),
        ("2002:7f00:1::", False),
        ("2001:0:7f00:1::", False),
        ("2001:db8::1", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("fc00::1", False),
        ("fd12:3456::1", False),
        ("ff02::1", False),
    ],
)
def test_public_addresses(address, public):
    assert is_public(address) is public


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "0.0.0.0", "localhost"]
)
def test_private_addresses_are_refused_however_they_are_written(server, get, host):
    with pytest.raises(PhotoError, match="is a private or reserved address; --allow-private"):
        get(server.url("/photo.png", host=host), allow_private=False)
    assert server.requests == []


def test_public_names_are_fetched(server, get, internet):
    assert get(server.url("/photo.png", host=NAME), allow_private=False) == PHOTO
    assert server.requests[0][1]["Host"] == f"{NAME}:{server.port}"


def test_the_checked_address_is_the_one_connected_to(server, get, internet):
    """A name with another address at the second look-up."""
    internet[NAME] = [[PUBLIC], ["127.0.0.1"]]
    assert get(server.url("/photo.png", host=NAME), allow_private=False) == PHOTO


@pytest.mark.parametrize("addresses", [["127.0.0.1"], [PUBLIC, "127.0.0.1"], ["10.0.0.1", PUBLIC]])
def test_names_of_private_addresses_are_refused(server, get, internet, addresses):
    internet[NAME] = [addresses]
    with pytest.raises(PhotoError, match="private or reserved"):
        get(server.url("/photo.png", host=NAME), allow_private=False)
    assert server.requests == []


def test_each_redirect_is_checked(server, get, internet):
    internet["inside.test"] = [["127.0.0.1"]]
    for number, host in enumerate(("127.0.0.1", "inside.test", "[::1]")):
        server.pages[f"/{number}"] = redirect(server.url("/photo.png", host=host))
        with pytest.raises(PhotoError, match="private or reserved"):
            get(server.url(f"/{number}", host=NAME), allow_private=False)
    assert [path for path, _ in server.requests] == ["/0", "/1", "/2"]


def test_the_next_address_is_tried_if_one_is_dead(server, get, internet):
    internet[NAME] = [["93.184.216.35", PUBLIC]]
    assert get(server.url("/photo.png", host=NAME), allow_private=False) == PHOTO


def test_the_certificate_must_be_the_name_s(get, internet, tmp_path, monkeypatch):
    certificate = tmp_path / "certificate.pem"
    certificate.write_text(CERTIFICATE)
    internet["other.test"] = [[PUBLIC]]
    with WebServer(certificate).running() as server:
        server.pages["/photo.png"] = PHOTO
        with pytest.raises(PhotoError, match="CERTIFICATE_VERIFY_FAILED"):
            get(server.url("/photo.png", NAME, "https"), allow_private=False)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert get(server.url("/photo.png", NAME, "https"), allow_private=False) == PHOTO
        with pytest.raises(PhotoError, match=r"other\.test"):
            get(server.url("/photo.png", "other.test", "https"), allow_private=False)
