"""From an HTTP request to one of the operations, and from its outcome to a response."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipeline.errors import PayloadMissingError, PipelineError
from pipeline.gateway.errors import NotAllowedError, NotFoundError, RequestError
from pipeline.gateway.operations import Operation
from pipeline.telemetry import log_lines

logger = log_lines.logger(__name__)

BODY_LIMIT_BYTES = 65_536
"""Largest body of a request. Files go to the bucket, not through here."""

HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""An answer may have a URL that lets anybody read, or a result."""

NOT_AUTHENTICATED = "no valid credentials"
CHALLENGE = {"WWW-Authenticate": "Bearer"}
UNAVAILABLE = "it cannot be done now; try again later"

STATUSES: dict[type[Exception], HTTPStatus] = {
    msgspec.DecodeError: HTTPStatus.BAD_REQUEST,
    NotAllowedError: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotFoundError: HTTPStatus.NOT_FOUND,
    PayloadMissingError: HTTPStatus.NOT_FOUND,
}
"""Status of each error that is the client's. Every other error of ours is 503, and its text stays here."""


class Problem(msgspec.Struct, frozen=True):
    """Why a request was not done."""

    error: str


@dataclass(frozen=True, slots=True)
class Answering:
    """Answers the requests of one operation."""

    operation: Operation

    def route(self) -> Route:
        """Return the route of the operation."""
        return Route(self.operation.path, self.answer, methods=[self.operation.method])

    async def answer(self, request: Request) -> Response:
        """Answer one request: authenticate, read, do, write."""
        if not (self.operation.is_public or request.user.is_authenticated):
            return problem(HTTPStatus.UNAUTHORIZED, NOT_AUTHENTICATED, CHALLENGE)
        content = await _body(request)
        if content is None:
            return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"body above {BODY_LIMIT_BYTES} bytes")
        try:
            arguments = self._arguments(request, content)
            return self._done(await run_in_threadpool(self.operation.call, *arguments))
        except (msgspec.DecodeError, RequestError, PipelineError) as exc:
            return _failed(exc)
        except Exception:
            logger.exception("gateway cannot answer")
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, UNAVAILABLE)

    def _arguments(self, request: Request, content: bytes) -> list[Any]:
        """Return the parameters of the path, the body and the query parameter, as far as there are any."""
        found: list[Any] = list(request.path_params.values())
        if self.operation.body is not None:
            found.append(_decoded(content, self.operation.body))
        if self.operation.query is not None:
            found.append(request.query_params.get(self.operation.query, ""))
        return found

    def _done(self, value: Any) -> Response:
        if self.operation.answer is None:
            return Response(status_code=self.operation.status)
        return _json(self.operation.status, value)


def _decoded(content: bytes, kind: type[msgspec.Struct]) -> Any:
    try:
        return msgspec.json.decode(content, type=kind)
    except (UnicodeDecodeError, RecursionError) as exc:
        raise msgspec.DecodeError(f"JSON is malformed: {exc}") from None


async def _body(request: Request) -> bytes | None:
    """Return the body, or ``None`` if it is too large; no more of it is read then."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > BODY_LIMIT_BYTES:
            return None
    return bytes(content)


def _failed(exc: Exception) -> Response:
    status = next((STATUSES[kind] for kind in type(exc).__mro__ if kind in STATUSES), None)
    if status is not None:
        return problem(status, str(exc))
    logger.error("gateway cannot answer: %s", exc)
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, UNAVAILABLE)


def problem(status: int, error: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response that says why a request was not done."""
    return _json(status, Problem(error), headers)


def _json(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, {**HEADERS, **(headers or {})}, "application/json")
