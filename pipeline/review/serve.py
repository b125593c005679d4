"""Serving a review on this machine until told to stop."""

import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import uvicorn

from pipeline.errors import ConfigError
from pipeline.review.config import LOOPBACK, ReviewConfig
from pipeline.review.desk import ReviewDesk
from pipeline.review.renditions import Renderer
from pipeline.review.security import new_token

log = logging.getLogger(__name__)

_SECONDS_FOR_PORT = 3.0  # a killed server's worker may hold it for a moment
_SECONDS_TO_END = 2


@dataclass(frozen=True)
class ReviewOutcome:
    """The numbers of a review at its end: `counts` as the page gets them."""

    session: str
    counts: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return the last line on stdout."""
        estimate = self.counts["estimate"]
        return {
            "session": self.session,
            "records": self.counts["by_verdict"],
            "seconds_median": self.counts["seconds_median"],
            "reviewed": self.counts["reviewed"],
            "disputed": self.counts["disputed"],
            "left": self.counts["left"],
            "estimate": estimate
            and {"n": estimate["photos"], "k": estimate["correct"], "low": estimate["low"], "high": estimate["high"]},
        }


def review(
    config: ReviewConfig, *, announce: Callable[[str], None], stop: Callable[[], bool] = lambda: False
) -> ReviewOutcome:
    """Serve a review until `stop()` returns true.

    Args:
        config: the settings.
        announce: gets the address of the page once it answers.
        stop: ends the review.

    Raises:
        ConfigError: there is nothing to review, or the port is taken.
        StoreError: the results folder is damaged, or can't be written.
        DataError: classes.json is damaged.
    """
    renderer = Renderer()
    try:
        desk = ReviewDesk(config)
        try:
            with _open_socket(config) as listening:
                _serve(desk, renderer, listening, announce, stop)
            desk.changes_since(0)
            return ReviewOutcome(desk.session, desk.counts())
        finally:
            desk.close()
    finally:
        renderer.close()


def _serve(
    desk: ReviewDesk,
    renderer: Renderer,
    listening: socket.socket,
    announce: Callable[[str], None],
    stop: Callable[[], bool],
) -> None:
    from pipeline.review.app import make_app
    from pipeline.review.pictures import Pictures

    token = new_token()
    app = make_app(desk, Pictures(desk.rows, desk.maps, renderer), token=token, hosts=_allowed_hosts(desk.config.host))
    settings = uvicorn.Config(
        app,
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_SECONDS_TO_END,
    )
    port = listening.getsockname()[1]
    host = desk.config.host if ":" not in desk.config.host else f"[{desk.config.host}]"
    _Server(settings, lambda: announce(f"http://{host}:{port}/#token={quote(token)}"), stop).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Uvicorn, ended by `stop()` instead of its own handlers of signals."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None], stop: Callable[[], bool]) -> None:
        super().__init__(config)
        self._announce = announce
        self._stop = stop

    def capture_signals(self) -> Any:
        """Leave the signals to the command."""
        from contextlib import nullcontext

        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Announce the address once the server answers."""
        await super().startup(sockets)
        self._announce()

    async def on_tick(self, counter: int) -> bool:
        """Look ten times a second whether to end."""
        return self._stop() or await super().on_tick(counter)


def _open_socket(config: ReviewConfig) -> socket.socket:
    """Bind the port; wait a moment for one still held by the workers of a killed server."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    deadline = time.monotonic() + _SECONDS_FOR_PORT
    while True:
        try:
            listening.bind((config.host, config.port))
            listening.listen(128)
            return listening
        except OSError as error:
            if time.monotonic() < deadline and config.port:
                time.sleep(0.1)
                continue
            listening.close()
            raise ConfigError(
                f"port = {config.port}: can't listen on {config.host} ({error.strerror}); name another --port, or 0"
            ) from None


def _allowed_hosts(host: str) -> list[str]:
    """List the names in a request's Host header that mean this machine."""
    names = ["127.0.0.1", "localhost", "[::1]"]
    if host in LOOPBACK:
        return names
    return ["*"] if host in ("0.0.0.0", "::") else [*names, host, socket.gethostname()]
