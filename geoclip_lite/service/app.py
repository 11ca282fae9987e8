"""The routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import generate_latest
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, PlainTextResponse
from starlette.routing import Match
from starlette.staticfiles import StaticFiles

from geoclip_lite.index import VectorStoreError
from geoclip_lite.service import models, search
from geoclip_lite.service.collection import Collection
from geoclip_lite.service.guard import (
    LOG,
    LOOPBACK,
    PICTURES,
    PROBLEM,
    Guard,
    Limits,
    Metrics,
    Pool,
    check_writer,
    media_type,
)
from geoclip_lite.service.pictures import SIZES, rendered

PAGE = Path(__file__).parent / "page"
NONE = "there is no such picture"
WRITES = 64  # after which the indexes are optimised
BINARY = {"schema": {"type": "string", "format": "binary"}}
PROBLEMS = {"content": {PROBLEM: {"schema": models.Problem.model_json_schema()}}, "description": "Refused"}


def create_app(
    collection: Collection,
    limits: Limits | None = None,
    *,
    writable: bool = False,
    readers: tuple[str, ...] = (),
    writers: tuple[str, ...] = LOOPBACK,
) -> FastAPI:
    """The service over a collection, which it closes when it stops.

    Args:
        writable: whether pictures may be sent in and taken out.
        readers, writers: host names under which it may be asked, and written to; no readers: any.
    """
    service = Service(collection, limits or Limits(), writers if writable else None)
    app = FastAPI(
        title="geoclip-lite",
        version="2",
        description="Finds pictures by what they show, and says why.",
        docs_url=None,  # FastAPI's own pages load scripts from elsewhere
        redoc_url=None,
        lifespan=service.lifespan,
        responses={"default": PROBLEMS},
    )
    service.route(app)
    for kind in (HTTPException, RequestValidationError):
        app.add_exception_handler(kind, to_guard)
    app.add_middleware(Guard, limits=service.limits, metrics=service.metrics, readers=readers)
    return app


async def to_guard(request: Request, error: Exception) -> Response:
    """It knows how to say it. (Of a path's methods, the framework names those of one route.)"""
    if getattr(error, "status_code", 0) == 405:
        routes = (r for r in request.app.routes if r.matches(request.scope)[0] != Match.NONE)
        error.headers = {"Allow": ", ".join(sorted({method for route in routes for method in route.methods}))}
    raise error


async def picture_body(request: Request) -> bytes:
    """The body of a request that brings a picture."""
    if media_type(request.headers) not in PICTURES:
        raise HTTPException(415, f"the content type must be one of {', '.join(PICTURES)}")
    return await request.body()


Content = Annotated[bytes, Depends(picture_body)]


class Service:
    """The routes and what they share.

    Args:
        writers: host names under which it may be written to; None: under none.
    """

    def __init__(self, collection: Collection, limits: Limits, writers: tuple[str, ...] | None):
        self.collection, self.limits, self.writers = collection, limits, writers
        self.metrics = Metrics()
        self.searches = Pool(limits.workers, limits.waiting)
        self.writes = Pool(1, limits.waiting)
        self.others = Pool(2, 100)
        self.unoptimised, self.optimising = 0, None

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Lets go of everything in the end, when the last answer is on its way."""
        yield
        for pool in (self.searches, self.writes, self.others):
            pool.threads.shutdown(cancel_futures=True)
        self.collection.close()

    def route(self, app: FastAPI) -> None:
        """Adds all routes."""
        body = {"requestBody": {"required": True, "content": dict.fromkeys(PICTURES, BINARY)}}
        image = {200: {"content": {"image/webp": BINARY, "image/jpeg": BINARY}, "description": "The picture"}}
        app.get("/api/about")(self.about)
        app.post("/api/search")(self.search)
        app.post("/api/search-by-picture", openapi_extra=body)(self.search_by_picture)
        app.get("/api/search-like")(self.search_like)
        app.get("/api/picture", responses=image, response_class=Response)(self.picture)
        writing = {
            "dependencies": [Depends(self.check_writer)],
            "status_code": 204,
            "response_class": Response,
        }
        app.put("/api/pictures", openapi_extra=body, **writing)(self.put)
        app.delete("/api/pictures", **writing)(self.delete)
        app.get("/health")(self.health)
        app.get("/ready")(self.ready)
        app.get("/metrics", response_class=PlainTextResponse)(self.figures)
        app.get("/", include_in_schema=False)(self.page)
        app.mount("/page", StaticFiles(directory=PAGE))

    # --- searching ---

    async def search(self, asked: models.TextQuery) -> models.SearchAnswer:
        """Finds pictures by a description of what they show."""
        return await self._searched(partial(search.by_text, self.collection, asked))

    async def search_by_picture(
        self, content: Content, encoder: models.EncoderName = None, k: models.K = 12
    ) -> models.SearchAnswer:
        """Finds the pictures that look most like the one in the body."""
        return await self._searched(partial(search.by_picture, self.collection, content, encoder, k))

    async def search_like(
        self, id: models.Id, encoder: models.EncoderName = None, k: models.K = 12
    ) -> models.SearchAnswer:
        """Finds the pictures that look most like one of them."""
        return await self._searched(partial(search.by_likeness, self.collection, id, encoder, k))

    async def _searched(self, work: Callable[[], models.SearchAnswer]) -> models.SearchAnswer:
        try:
            answer = await self.searches.run(work)
        except KeyError:
            raise HTTPException(404, NONE) from None
        for stage, seconds in answer.seconds.items():
            self.metrics.stages.labels(stage).observe(seconds)
        return answer

    async def picture(
        self, request: Request, id: models.Id, version: models.Version, size: models.Size = "small"
    ) -> Response:
        """A picture, as WebP for a page or, in full, as JPEG for a screen."""
        headers = {"etag": f'"{version}-{size}"', "cache-control": "private, max-age=31536000, immutable"}
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        source = partial(self.collection.source, id, version)
        small = partial(self.collection.thumbnails.get, id, version, source)
        try:
            content = await self.others.run(small if size == "small" else lambda: rendered(source(), size))
        except (KeyError, FileNotFoundError):
            raise HTTPException(404, NONE) from None
        return Response(content, media_type=f"image/{SIZES[size][1]['format'].lower()}", headers=headers)

    # --- writing ---

    async def check_writer(self, request: Request) -> None:
        if self.writers is None:
            raise HTTPException(403, "this service only reads: start it with --writable")
        check_writer(request.headers, self.writers)

    async def put(self, content: Content, id: models.NewId, caption: models.Caption = "") -> None:
        """Keeps the picture in the body, in place of the one that had its id."""
        await self.writes.run(partial(self.collection.put, id, caption, content))
        self.optimise_later()

    async def delete(self, id: models.Id) -> None:
        """Takes a picture out, of what is shown of the folder too; its file stays."""
        try:
            await self.writes.run(partial(self.collection.delete, id))
        except KeyError:
            raise HTTPException(404, NONE) from None
        self.optimise_later()

    def optimise_later(self) -> None:
        """In the background, once after many small writes, which slow searches down."""
        self.unoptimised += 1
        if self.unoptimised >= WRITES and (self.optimising is None or self.optimising.done()):
            self.unoptimised = 0
            self.optimising = asyncio.create_task(self._optimise())

    async def _optimise(self) -> None:
        try:
            await self.writes.run(self.collection.optimise)
        except (HTTPException, VectorStoreError) as error:  # there will be another time
            LOG.warning("not optimised", extra={"details": {"reason": str(error)[:500]}})

    # --- about itself ---

    async def about(self) -> models.About:
        """What there is to search."""
        return await self.others.run(partial(search.about, self.collection, self.writers is not None))

    async def health(self) -> dict[str, str]:
        """Whether the process is there."""
        return {"status": "ok"}

    async def ready(self) -> dict[str, str]:
        """Whether it can answer: every index is asked."""
        await self.others.run(self.collection.counts)
        return {"status": "ok"}

    async def page(self) -> Response:
        """The search page."""
        return FileResponse(PAGE / "index.html")

    async def figures(self) -> Response:
        """Figures for Prometheus."""
        self.metrics.accepted.set(self.searches.accepted)
        return PlainTextResponse(generate_latest(self.metrics.registry))
