"""The HTTP side of the review: loopback only, every address begins with the session's token."""

from __future__ import annotations

import hmac
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel
from starlette.middleware.trustedhost import TrustedHostMiddleware

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.answer import Answer

from .store import ReviewStore

STATIC = Path(__file__).parent / "static"
LOCAL_NAMES = ["127.0.0.1", "localhost"]
UNPROCESSABLE = 422
HEADERS = {
    # The token is in the address: it must not leave with a link or stay in a cache.
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
}


class Steps(BaseModel):
    """The four steps as the page sends them."""

    modality: str
    analysis: str
    consideration: str
    diagnosis: str

    def answer(self) -> Answer:
        """As the answer they make, on one line each."""
        return Answer(
            _one_line(self.modality),
            _one_line(self.analysis),
            _one_line(self.consideration),
            _one_line(self.diagnosis),
        )


def _one_line(step: str) -> str:
    return " ".join(step.split()).rstrip(". ")


class Choice(BaseModel):
    """A decision on one answer."""

    decision: str
    answer: Steps
    reason: str = ""


def create_app(store: ReviewStore, token: str) -> FastAPI:
    """The application.

    Args:
        token: first part of every path; anything else is refused.
    """
    app = FastAPI(title="Sim4Seg review", docs_url=None, redoc_url=None, openapi_url=None)
    # Another site's name that resolves to this machine must not reach the page.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=LOCAL_NAMES)

    @app.middleware("http")
    async def guard(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        given = request.url.path.split("/")[1]
        if not hmac.compare_digest(given.encode(), token.encode()):
            return PlainTextResponse("Open the address that run.py review has printed.", 403)
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    @app.exception_handler(Sim4SegError)
    async def explain(request: Request, error: Sim4SegError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, UNPROCESSABLE)

    app.include_router(_routes(store), prefix=f"/{token}")
    app.mount(f"/{token}/static", StaticFiles(directory=STATIC))
    return app


def _routes(store: ReviewStore) -> APIRouter:
    routes = APIRouter()

    def known(number: int) -> int:
        if not 0 <= number < len(store):
            raise HTTPException(404, f"there is no answer {number}")
        return number

    @routes.get("/")
    def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @routes.get("/api/queue")
    def queue() -> list[dict[str, Any]]:
        return store.queue()

    @routes.get("/api/items/{number}")
    def detail(number: int) -> dict[str, Any]:
        return store.detail(known(number))

    @routes.get("/api/items/{number}/image.png")
    def image(number: int) -> Response:
        return _png(store.image(known(number)))

    @routes.get("/api/items/{number}/overlay.png")
    def overlay(number: int) -> Response:
        return _png(store.overlay(known(number)))

    @routes.post("/api/items/{number}/check")
    def check(number: int, steps: Steps) -> dict[str, Any]:
        verdict = store.check(known(number), steps.answer())
        return {"accepted": verdict.accepted, "reasons": list(verdict.reasons)}

    @routes.post("/api/items/{number}/review")
    def review(number: int, choice: Choice) -> dict[str, Any]:
        made = store.decide(known(number), choice.decision, choice.answer.answer(), choice.reason)
        return made.to_json()

    return routes


def _png(pixels: NDArray[np.uint8]) -> Response:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return Response(buffer.getvalue(), media_type="image/png")
