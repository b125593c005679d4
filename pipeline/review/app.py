"""The HTTP side of a review: each route is one function, the work is the desk's."""

import json
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipeline.errors import DataError, DecodeError, FolderBusyError, StoreError
from pipeline.review.desk import ReviewDesk
from pipeline.review.examples import grid_page, guide_examples
from pipeline.review.pictures import PictureFile, Pictures
from pipeline.review.refusals import (
    BadRequestError,
    HiddenAnswerError,
    PhotoChangedError,
    PictureMissingError,
    TooLargeError,
    UnknownPhotoError,
)
from pipeline.review.security import Guard
from pipeline.review.seeds import propose_boxes
from pipeline.review.similar import SimilarPhotos
from pipeline.review.start import start_answer
from pipeline.review.submission import parse_submission

MOST_ROWS = 64  # of one request
_PAGE = resources.files("pipeline.review") / "page"
_MOST_DIGITS = 9
_STATIC_TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_STATUS_OF = {
    BadRequestError: 400,
    HiddenAnswerError: 403,
    PictureMissingError: 404,
    PhotoChangedError: 409,
    UnknownPhotoError: 409,
    TooLargeError: 413,
    DecodeError: 422,
    StoreError: 507,
    DataError: 500,
    FolderBusyError: 503,
}

Endpoint = Callable[[Request], Awaitable[Response]]


def make_app(desk: ReviewDesk, pictures: Pictures, *, token: str, hosts: list[str]) -> Starlette:
    """Make the app.

    Args:
        desk: the review.
        pictures: of its rows.
        token: the secret of the page's address.
        hosts: names of this machine accepted in requests.
    """
    api = _Api(desk, pictures)
    read = {
        "start": api.start,
        "rows": api.rows,
        "photo/{row:int}": api.photo,
        "thumbnail/{row:int}": api.thumbnail,
        "overlay/{row:int}": api.overlay,
        "map/{row:int}": api.map,
        "seeds/{row:int}": api.seeds,
        "similar/{row:int}": api.similar,
        "grid": api.grid,
        "guide": api.guide,
        "changes": api.changes,
    }
    routes = [Route("/", _page), Route("/static/{name}", _static)]
    routes += [Route(f"/api/{path}", _in_thread(handler)) for path, handler in read.items()]
    routes += [
        Route("/api/records", api.record, methods=["POST"]),
        Route("/api/classes", api.add_class, methods=["POST"]),
    ]
    middleware = [
        Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
        Middleware(Guard, token=token),
    ]
    handlers: dict[Any, Any] = dict.fromkeys((HTTPException, *_STATUS_OF), _answer_error)
    return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)


class _Api:
    """The routes under /api/."""

    def __init__(self, desk: ReviewDesk, pictures: Pictures) -> None:
        self._desk = desk
        self._pictures = pictures
        self._similar = SimilarPhotos(desk.rows)

    def start(self, _: Request) -> Response:
        return JSONResponse(start_answer(self._desk))

    def rows(self, request: Request) -> Response:
        texts = [text for text in request.query_params.get("rows", "").split(",") if text]
        if len(texts) > MOST_ROWS:
            raise BadRequestError(f"rows: at most {MOST_ROWS} at once")
        return JSONResponse({"rows": [self._desk.describe(self._check_row(text)) for text in texts]})

    def photo(self, request: Request) -> Response:
        return self._send(request, self._pictures.photo)

    def thumbnail(self, request: Request) -> Response:
        return self._send(request, self._pictures.thumbnail)

    def overlay(self, request: Request) -> Response:
        self._refuse_blind(self._row_of(request))
        return self._send(request, self._pictures.overlay)

    def map(self, request: Request) -> Response:
        self._refuse_blind(self._row_of(request))
        method = request.query_params.get("method") or None
        return self._send(request, lambda row: self._pictures.map(row, method))

    def seeds(self, request: Request) -> Response:
        row = self._row_of(request)
        self._refuse_blind(row)
        size = self._desk.rows.value("width", row), self._desk.rows.value("height", row)
        return JSONResponse(propose_boxes(self._desk.maps.read(row), size).as_json())

    def similar(self, request: Request) -> Response:
        row = self._row_of(request)
        self._refuse_blind(row)
        return JSONResponse({"rows": [self._desk.describe(other) for other in self._similar.find(row)]})

    def grid(self, request: Request) -> Response:
        after = request.query_params.get("after") or None
        last = None if after is None else self._check_row(after)
        return JSONResponse(grid_page(self._desk, request.query_params.get("label"), last))

    def guide(self, request: Request) -> Response:
        return JSONResponse(guide_examples(self._desk, request.query_params.get("class", "")))

    def changes(self, request: Request) -> Response:
        since = _parse_number(request.query_params.get("since", "0"))
        if since is None:
            raise BadRequestError("since: must be a number")
        position, rows = self._desk.changes_since(since)
        classes = request.query_params.get("classes")
        answer = {
            "next": position,
            "rows": [self._desk.describe(row) for row in rows],
            "counts": self._desk.counts(),
            "classes": None if classes in (None, str(len(self._desk.classes))) else _list_classes(self._desk),
        }
        return JSONResponse(answer)

    async def record(self, request: Request) -> Response:
        submission = parse_submission(await _read_json(request))
        return JSONResponse(await run_in_threadpool(self._desk.decide, submission))

    async def add_class(self, request: Request) -> Response:
        content = await _read_json(request)
        if not isinstance(content, dict) or not isinstance(content.get("name"), str):
            raise BadRequestError("name: must be a text")
        await run_in_threadpool(self._desk.add_class, content["name"])
        return JSONResponse({"classes": _list_classes(self._desk)})

    def _send(self, request: Request, read: Callable[[int], PictureFile]) -> Response:
        """Send a picture; its tag names the photo's content and the run, so a browser need not load it twice."""
        row = self._row_of(request)
        picture = read(row)
        tag = f'"{self._desk.rows.value("content_hash", row)}-{self._desk.rows.value("run_id", row)}"'
        headers = {"etag": tag, "cache-control": "private, no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(picture.content, media_type=picture.media_type, headers=headers)

    def _row_of(self, request: Request) -> int:
        return self._check_row(str(request.path_params["row"]))

    def _check_row(self, text: str) -> int:
        row = _parse_number(text)
        if row is None or row >= len(self._desk.rows):
            raise HTTPException(404, "no such row")
        return row

    def _refuse_blind(self, row: int) -> None:
        if self._desk.is_blind(row):
            raise HiddenAnswerError("a photo of the audit shows the model's answer after yours")


def _parse_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else None


def _list_classes(desk: ReviewDesk) -> list[dict[str, Any]]:
    return [vars(each) for each in desk.classes]


def _page(_: Request) -> Response:
    return _send_page_file("index.html", "text/html")


def _static(request: Request) -> Response:
    name = request.path_params["name"]
    kind = _STATIC_TYPES.get(name.rpartition(".")[2])
    if kind is None or name not in {file.name for file in _PAGE.iterdir()}:
        raise HTTPException(404, "no such file")
    return _send_page_file(name, kind)


def _send_page_file(name: str, kind: str) -> Response:
    return Response((_PAGE / name).read_bytes(), media_type=kind)


def _in_thread(handler: Callable[[Request], Response]) -> Endpoint:
    """Run a handler in a thread: it waits for the disk."""

    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(handler, request)

    return endpoint


async def _read_json(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except (ValueError, RecursionError):
        raise BadRequestError("the request is not JSON") from None


async def _answer_error(_: Request, error: Exception) -> Response:
    """Answer an error in one line."""
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)
    status = next(status for kind, status in _STATUS_OF.items() if isinstance(error, kind))
    return JSONResponse({"error": str(error)}, status)
