"""A real server, and requests of a browser gone astray: each is refused, and none leaves a record."""

import socket

import pytest

from pipeline.review.security import MOST_BYTES
from tests.helpers.review_server import TIMEOUT, make_review_folder, running_review_server

PATHS = ["/api/start", "/api/rows?rows=0", "/api/photo/0", "/api/thumbnail/0", "/api/overlay/0", "/api/map/0",
         "/api/seeds/0", "/api/similar/0", "/api/grid", "/api/guide?class=ok", "/api/changes?since=0"]  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return make_review_folder(tmp_path_factory.mktemp("review"))


@pytest.fixture(scope="module")
def server(out):
    with running_review_server(out, "--audit", 0) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_record(out):
    yield
    assert sum(file.stat().st_size for file in (out / "reviews").glob("*.jsonl")) == 0


@pytest.fixture
def row(server):
    return server.get("/api/rows?rows=0").json()["rows"][0]


def send_raw(server, text):
    """Send bytes as they are; return the status of the answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) as connection:
        connection.sendall(text.replace("\n", "\r\n").encode())
        connection.shutdown(socket.SHUT_WR)
        return int(connection.makefile("rb").readline().split()[1])


@pytest.mark.parametrize(
    "host", ["evil.com", "localhost.evil.com", "127.0.0.1.nip.io:{port}", "127.0.0.1@evil.com", "0.0.0.0:{port}", ""]
)
def test_foreign_host(server, host):
    host = host.format(port=server.port)
    assert [server.get(path, Host=host).status for path in ["/", "/static/review.js", *PATHS]] == [400] * 13
    assert server.post("/api/records", {"id": "0" * 32}, Host=host).status == 400


@pytest.mark.parametrize(
    "host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST", "localhost:9999", "[::1]:{port}"]
)
def test_own_host(server, host):
    """Another port too: that of the near end of `ssh -L`."""
    assert server.get("/api/start", Host=host.format(port=server.port)).status == 200


def test_two_hosts_and_none(server):
    token = f"X-Review-Token: {server.token}\n"
    assert send_raw(server, f"GET /api/start HTTP/1.1\nHost: localhost\nHost: evil.com\n{token}\n") == 400
    assert send_raw(server, f"GET /api/start HTTP/1.1\n{token}\n") == 400
    assert send_raw(server, f"GET /api/start HTTP/1.0\n{token}\n") == 400
    assert send_raw(server, f"GET http://evil.com/api/start HTTP/1.1\nHost: evil.com\n{token}\n") == 400


@pytest.mark.parametrize(
    "origin", ["http://evil.com", "null", "https://127.0.0.1", "http://127.0.0.1:1", "http://127.0.0.1:{port}.evil.com"]
)
def test_foreign_origin(server, origin):
    origin = origin.format(port=server.port)
    assert [server.get(path, Origin=origin).status for path in PATHS] == [403] * len(PATHS)
    assert server.post("/api/records", {}, Origin=origin).status == 403
    assert server.post("/api/classes", {"name": "x"}, Origin=origin).status == 403


def test_own_origin(server):
    assert server.get("/api/start", Origin=f"http://127.0.0.1:{server.port}").status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_requests_sent_by_other_pages(server, site):
    assert [server.get(path, Sec_Fetch_Site=site).status for path in PATHS] == [403] * len(PATHS)
    assert server.get("/api/start", Sec_Fetch_Site="same-origin").status == 200


@pytest.mark.parametrize("token", [None, "", "wrong", "ä"])
def test_without_the_token(server, token):
    answers = [server.get(path, X_Review_Token=token) for path in PATHS]
    assert [answer.status for answer in answers] == [403] * len(PATHS)
    assert answers[0].json() == {"error": "wrong token; open the address printed by vitrollout review"}
    assert server.post("/api/records", {}, X_Review_Token=token).status == 403
    assert server.get(f"/api/start?token={server.token}", X_Review_Token=token).status == 403


def test_the_page_needs_no_token_and_holds_nothing(server):
    answer = server.get("/", X_Review_Token=None)
    assert answer.status == 200
    assert b"photo-0" not in answer.content
    assert server.token.encode() not in answer.content


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"]
)
def test_forms_are_refused(server, kind):
    body = b"id=" + b"0" * 32
    assert server.send("POST", "/api/records", body, Content_Type=kind).status == 415


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 60_000, b"null", b"[]", b'{"id": NaN}'])
def test_malformed_json(server, body):
    for path in ("/api/records", "/api/classes"):
        answer = server.post(path, body)
        assert answer.status == 400
        assert answer.json()["error"]


def test_too_large(server):
    assert server.post("/api/records", b" " * (MOST_BYTES + 1)).status == 413
    start = (
        f"POST /api/records HTTP/1.1\nHost: localhost\nX-Review-Token: {server.token}\nContent-Type: application/json\n"
    )
    chunk = f"{MOST_BYTES:x}\n{' ' * MOST_BYTES}\n"
    assert send_raw(server, f"{start}Transfer-Encoding: chunked\n\n{chunk}{chunk}0\n\n") == 413
    assert send_raw(server, f"{start}Content-Length: -5\n\n") == 400


@pytest.mark.parametrize(
    "name", ["../results/classes.json", "..%2f..%2fphotos%2fphoto-0000.png", "%00", "/etc/passwd", "-1"]
)
def test_no_way_out_of_the_folder(server, row, name):
    paths = [f"/api/{kind}/{name}" for kind in ("photo", "thumbnail", "overlay", "map", "seeds", "similar")]
    paths += [f"/static/{name}", f"/{name}", f"/api/rows?rows={name}", f"/api/changes?since={name}"]
    paths += [
        f"/api/grid?label={name}",
        f"/api/grid?after={name}",
        f"/api/guide?class={name}",
        f"/api/map/0?method={name}",
    ]
    for path in paths:
        assert 400 <= server.get(path).status < 500, path
    for field in ("id", "content_hash", "verdict", "label", "replaces", "how", "boxes"):
        assert 400 <= server.decide(row, **{"label": "ok", field: name}).status < 500, field
        assert 400 <= server.decide(row, **{"label": "ok", field: [name]}).status < 500, field


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods(server, method):
    assert server.send(method, "/api/records", None).status == 405
    assert server.get("/api/records").status == 405
    assert server.post("/api/start", {}).status == 405


def test_headers_that_keep_a_browser_inside(server):
    for path in ("/", "/static/review.js", "/api/start", "/api/photo/0", "/api/rows?rows=x"):
        headers = server.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; img-src 'self' blob:; script-src 'self'; style-src 'self'; ")
        assert "frame-ancestors 'none'" in policy
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
        assert headers["cache-control"] in ("no-store", "private, no-cache")
        assert "server" not in headers
    assert server.get("/api/start").headers["cache-control"] == "no-store"


def test_the_port_is_open_on_this_machine_alone(server):
    with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.2", server.port)):
        pass


@pytest.mark.parametrize("rows", ["0,x", "999", "1e3", "٣", ",".join("0" * 65), "-1", "99999999999999999999"])
def test_odd_rows(server, rows):
    from urllib.parse import quote

    assert server.get(f"/api/rows?rows={quote(rows)}").status in (400, 404)
