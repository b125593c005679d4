"""A web server in this process, for tests of what comes over HTTP."""

import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = "photos.test"  # whose certificate this is, valid until 2120; no other use is made of the key
CERTIFICATE = """
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg6l1IqcD3JiDjzvok
k+yXOeO0/XQEAzlSoNKx0ZKiMR+hRANCAATFwqnQ+W/rZY06GHSeej/eXox8F0Ba
u9/aPsOK73Vwm06a5zg5rrgnPCgoOSIPZavFRZ2a4o0snFVuIZ29dG/D
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBeDCCAR2gAwIBAgIBAjAKBggqhkjOPQQDAjAWMRQwEgYDVQQDDAtwaG90b3Mu
dGVzdDAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFjEUMBIGA1UE
AwwLcGhvdG9zLnRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATFwqnQ+W/r
ZY06GHSeej/eXox8F0Bau9/aPsOK73Vwm06a5zg5rrgnPCgoOSIPZavFRZ2a4o0s
nFVuIZ29dG/Do1owWDAWBgNVHREEDzANggtwaG90b3MudGVzdDAPBgNVHRMBAf8E
BTADAQH/MA4GA1UdDwEB/wQEAwIChDAdBgNVHQ4EFgQUNyr0I5hcKvtybE7/Qi/P
eqoY4Q0wCgYIKoZIzj0EAwIDSQAwRgIhALuC1460FbLNCGgRxEsfHIAPo3rtbZzc
1VBK6zV5qisxAiEAj2g7BMjw5ey43Btts73XRodS5CgovH44aGVSLCFKxwk=
-----END CERTIFICATE-----
"""


class WebServer:
    """Answers by path with what `pages` says: bytes, or a function of the request's handler.

    Attributes:
        pages: by path; what is not there is 404.
        requests: pairs (path, headers) as they came.
        port: of 127.0.0.1.
        closing: set at the end; handlers that never answer wait for it.
    """

    def __init__(self, certificate=None):
        self.pages, self.requests, self.closing = {}, [], threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.handle_error = lambda *_: None  # clients that leave early are what is tested
        self.port = self._server.server_port

    @contextmanager
    def running(self):
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self.closing.set()
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def url(self, path, host="127.0.0.1", scheme="http"):
        return f"{scheme}://{host}:{self.port}{path}"

    def _handler(self):
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                site.requests.append((self.path, self.headers))
                page = site.pages.get(self.path)
                if callable(page):
                    page(self)
                elif page is None:
                    self.send_error(404)
                else:
                    answer(self, page)

            def log_message(self, *_):
                pass

        return Handler


def answer(handler, body, *, status=200, **headers):
    """A whole response."""
    handler.send_response(status)
    for name, value in ({"Content-Length": str(len(body))} | headers).items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def redirect(location, status=302):
    return lambda handler: answer(handler, b"", status=status, Location=location)


def endless(status=200, **headers):
    """A page that never ends, and does not say how long it is."""

    def page(handler):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        while True:
            handler.wfile.write(bytes(10_000))  # until the client has gone

    return page
