"""The routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from geoclip_lite.datasets.folder import first, shown
from geoclip_lite.index import VectorStoreError
from geoclip_lite.service import description, searching
from geoclip_lite.service.collection import Collection, Entry
from geoclip_lite.service.desk import Desk
from geoclip_lite.service.guard import Guard
from geoclip_lite.service.limits import MEDIA, Limits
from geoclip_lite.service.models import (
    RERANKERS,
    About,
    Encoder,
    Found,
    Health,
    Kept,
    NewPicture,
    PictureName,
    PictureQuery,
    TextQuery,
)
from geoclip_lite.service.pictures import opened
from geoclip_lite.service.problems import Refusal
from geoclip_lite.service.tidying import Tidier
from geoclip_lite.service.watching import LOG, Figures

PAGE = Path(__file__).parent / "page"
PARTS = ("icon.svg", "page.css", "page.js")
KEY = r"^[0-9a-f]{64}$"
ARRIVING = (408, 413, 415, 422, 429, 503)  # what may be answered to a request with a body


def create_app(
    collection: Collection,
    limits: Limits | None = None,
    *,
    writable: bool = False,
    hosts: tuple[str, ...] = (),
) -> FastAPI:
    """The service over a collection. It closes the collection when it stops.

    Args:
        writable: whether pictures may be sent in and taken out.
        hosts: the names by which it may be called; none: any. On one's own machine these are its own names,
            or a page of another site could have a browser ask under a name that leads here.
    """
    service = Service(collection, limits or Limits(), writable)
    app = FastAPI(
        title="geoclip-lite",
        version="1",
        description="Finds pictures by what they show, and says why.",
        docs_url=None,  # FastAPI's own pages load scripts from elsewhere
        redoc_url=None,
        lifespan=service.lifespan,
    )
    service.route(app)
    for kind in (HTTPException, RequestValidationError):
        app.add_exception_handler(kind, pass_on)
    app.add_middleware(Guard, limits=service.limits, figures=service.figures, hosts=hosts)
    app.openapi = partial(description.completed, app.openapi)
    return app


async def pass_on(request: Request, error: Exception) -> Response:
    """To the guard, which knows how to say it."""
    if getattr(error, "status_code", None) == 405:
        error.headers = {"Allow": ", ".join(allowed(request))}
    raise error


def allowed(request: Request) -> list[str]:
    """All methods of a path; the framework names those of one route."""
    routes = request.app.routes
    return sorted({m for r in routes if r.matches(request.scope)[0] != Match.NONE for m in r.methods})


class Service:
    """The routes and what they share."""

    def __init__(self, collection: Collection, limits: Limits, writable: bool):
        self.collection, self.limits, self.writable = collection, limits, writable
        self.figures = Figures()
        self.searches = Desk("search", limits.workers, limits.waiting)
        self.writes = Desk("write", 1, limits.waiting)  # a store has one writer at a time
        self.checks = Desk("check", 1, 8)
        self.tidier = Tidier(self.writes, collection.tidy)

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Lets go of everything in the end, when the last answer is on its way."""
        if self.writable:
            self.tidier.begin()
        yield
        for desk in (self.searches, self.writes, self.checks):
            desk.close()
        self.collection.close()
        LOG.info("stopped")

    def route(self, app: FastAPI) -> None:
        """Adds all routes."""
        problems = description.problems
        search = {"responses": problems(404, *ARRIVING)}
        picture = {"openapi_extra": description.PICTURE_BODY}
        app.get("/", include_in_schema=False)(self.page)
        app.get("/page/{name}", include_in_schema=False)(self.page_part)
        app.get("/api/about", responses=problems(429, 503))(self.about)
        app.post("/api/search", dependencies=[Depends(json_only)], **search)(self.search)
        app.post("/api/search-by-picture", **picture, **search)(self.search_by_picture)
        app.get("/api/pictures/{key}", **description.COPY)(self.picture)
        app.put("/api/pictures", responses=problems(403, *ARRIVING), **picture)(self.keep)
        app.delete("/api/pictures", responses=problems(403, 404, 429, 503), status_code=204)(self.remove)
        app.get("/health")(self.health)
        app.get("/ready", responses=problems(429) | {503: {"model": Health}})(self.ready)
        app.get("/metrics", **description.FIGURES)(self.metrics)

    # --- searching ---

    async def search(self, asked: TextQuery) -> Found:
        """Finds pictures by a description of what they show."""
        return await self._found(partial(searching.by_text, self.collection, asked))

    async def search_by_picture(self, request: Request, asked: Annotated[PictureQuery, Query()]) -> Found:
        """Finds the pictures that look most like one. The body is the picture."""
        content = await picture_of(request)
        return await self._found(partial(searching.by_picture, self.collection, asked, content))

    async def _found(self, work: Callable[[], Found]) -> Found:
        found = await self.searches.do(work, self.limits.seconds)
        self.figures.searched(found.seconds)
        return found

    async def picture(self, key: Annotated[str, InPath(pattern=KEY)]) -> Response:
        """A copy of a picture, at most 640 pixels wide or high."""
        path = self.collection.shelf.path(key)
        if not await asyncio.to_thread(path.is_file):
            raise Refusal(404, "there is no such picture")
        return FileResponse(
            path, media_type="image/webp", headers={"cache-control": "max-age=31536000, immutable"}
        )

    # --- writing ---

    async def keep(self, request: Request, named: Annotated[NewPicture, Query()]) -> Kept:
        """Keeps a picture under an id, in place of the one that had it. The body is the picture."""
        self._check_writable()
        content = await picture_of(request)
        kept = await self.writes.do(partial(self._keep, named, content), self.limits.seconds)
        self.tidier.written()
        return kept

    def _keep(self, named: NewPicture, content: bytes) -> Kept:
        picture = opened(content)
        self.collection.add([Entry(named.id, named.caption, lambda: picture)])
        return Kept(id=named.id)

    async def remove(self, named: Annotated[PictureName, Query()]) -> None:
        """Takes a picture out, with its copy."""
        self._check_writable()
        if not await self.writes.do(partial(self.collection.delete, [named.id]), self.limits.seconds):
            raise Refusal(404, "there is no picture of this id")
        self.tidier.written()

    def _check_writable(self) -> None:
        if not self.writable:
            raise Refusal(403, "this service only reads: start it with --writable to send pictures in")

    # --- about itself ---

    async def about(self) -> About:
        """What there is to search."""
        return await self.checks.do(self._about, self.limits.seconds)

    def _about(self) -> About:
        pipelines = self.collection.pipelines
        known = [
            Encoder(name=name, pictures=count, windows=pipelines[name].cut is not None)
            for name, count in self.collection.counts().items()
        ]
        return About(
            title=self.collection.title,
            encoders=known,
            rerankers=list(RERANKERS),
            examples=list(self.collection.examples),
            writable=self.writable,
            left_out=first([shown(one.name) for one in self.collection.left_out]),
        )

    async def health(self) -> Health:
        """Whether the process is there."""
        return Health(status="ok")

    async def ready(self, response: Response) -> Health:
        """Whether it can answer: every index is asked."""
        try:
            counts = await self.checks.do(self.collection.counts, self.limits.seconds)
        except VectorStoreError as error:
            LOG.warning("not ready", extra={"about": {"reason": str(error)[:500]}})
            response.status_code = 503
            return Health(status="not ready", detail="a vector store cannot be used")
        self.figures.hold(counts)
        return Health(status="ok")

    async def metrics(self) -> Response:
        """Figures for Prometheus."""
        self.figures.accepted.set(self.searches.accepted)
        return Response(self.figures.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    # --- the page ---

    async def page(self) -> Response:
        """The search page."""
        return FileResponse(PAGE / "index.html", headers={"cache-control": "no-cache"})

    async def page_part(self, name: str) -> Response:
        """What the page is made of."""
        if name not in PARTS:
            raise Refusal(404, "there is no such part of the page")
        return FileResponse(PAGE / name, headers={"cache-control": "no-cache"})


async def json_only(request: Request) -> None:
    """Refuses a body of another kind."""
    if media(request) != "application/json":
        raise Refusal(415, "the content type must be application/json")


def media(request: Request) -> str:
    """The kind of a request's body."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def picture_of(request: Request) -> bytes:
    """The body of a request that brings a picture."""
    if media(request) not in MEDIA:
        raise Refusal(415, f"the content type must be one of {', '.join(MEDIA)}")
    return await request.body()
