"""Puts the gateway together: an ASGI application, for uvicorn or, through Mangum, for AWS Lambda."""

from collections.abc import Callable
from functools import partial
from typing import cast

import msgspec
from celery import Celery
from starlette.applications import Starlette
from starlette.authentication import AuthenticationBackend, AuthenticationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pipeline.claimcheck.installed import installed
from pipeline.claimcheck.keys import object_task_id
from pipeline.gateway import openapi, pages
from pipeline.gateway.answering import CHALLENGE, NOT_AUTHENTICATED, Answering, problem
from pipeline.gateway.claims import Link, Links
from pipeline.gateway.operations import Operation
from pipeline.gateway.task_states import TaskState, state_of
from pipeline.gateway.uploads import (
    Completion,
    Limits,
    NewPart,
    NewUpload,
    S3Request,
    Upload,
    UploadDesk,
    Uploaded,
)
from pipeline.stores import Store
from pipeline.stores.presigned_uploads import PresigningStore


class Health(msgspec.Struct, frozen=True):
    """The gateway runs. It asks nothing of AWS: a store that is down is no reason to restart it."""

    ok: bool = True


def create_app(
    app: Celery, *, store: str, authentication: AuthenticationBackend, limits: Limits | None = None
) -> Starlette:
    """Return the gateway: an ASGI application that gives out presigned URLs and task states.

    Runs in a web server's process. It makes no request until a client does.

    Args:
        app: the Celery app; ``pipeline.install`` was called for it.
        store: alias of the store that clients upload to, one of ``stores`` of ``pipeline.install``.
        authentication: who may use it: ``BearerTokens(…)``, ``Anyone()``, or a backend of yours.
        limits: what may be uploaded.

    Raises:
        ValueError: there is no such store, or clients cannot upload to it.
    """
    chosen, claimcheck = limits or Limits(), installed()
    found = claimcheck.stores.get(store)
    if not isinstance(found, PresigningStore):
        raise ValueError(  # noqa: TRY004 - wrong configuration is a ValueError
            f"store={store!r}: expected the alias of an s3:// store of pipeline.install's stores"
        )
    task_id_of = partial(object_task_id, store)
    desk = UploadDesk(found.presigned_uploads(), cast("Store", found).prefix, chosen, task_id_of)
    links = Links(claimcheck, cast("Store", found), chosen.expires_seconds)
    return gateway(routes(desk, links, partial(state_of, app)), authentication)


def gateway(routes: list[BaseRoute], authentication: AuthenticationBackend) -> Starlette:
    """Return the application that answers on these routes, all errors in JSON."""
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(AuthenticationMiddleware, backend=authentication, on_error=_not_authenticated)
        ],
        exception_handlers={HTTPException: _no_such_request},
    )


def _not_authenticated(_: HTTPConnection, __: AuthenticationError) -> Response:
    return problem(401, NOT_AUTHENTICATED, CHALLENGE)


def _no_such_request(_: Request, exc: Exception) -> Response:
    error = cast("HTTPException", exc)
    return problem(error.status_code, error.detail.lower(), error.headers)


def routes(desk: UploadDesk, links: Links, state: Callable[[str], TaskState]) -> list[BaseRoute]:
    """Return the routes of the operations, of the OpenAPI document and of the pages."""
    operations = _operations(desk, links, state)
    return [
        *(Answering(each).route() for each in operations),
        Route("/openapi.json", openapi.endpoint(operations)),
        *pages.routes(operations),
    ]


def _operations(desk: UploadDesk, links: Links, state: Callable[[str], TaskState]) -> list[Operation]:
    return [
        Operation(
            "GET", "/limits", "Get what may be uploaded", lambda: desk.limits, answer=Limits, is_public=True
        ),
        Operation("POST", "/uploads", "Begin an upload", desk.begin, NewUpload, Upload, 201),
        Operation(
            "POST", "/uploads/{upload_id}/parts", "Get the URL of a part", desk.put_part, NewPart, S3Request
        ),
        Operation(
            "POST",
            "/uploads/{upload_id}/complete",
            "Make a file of its parts",
            desk.complete,
            Completion,
            Uploaded,
        ),
        Operation("DELETE", "/uploads/{upload_id}", "Give an upload up", desk.abort, status=204, query="key"),
        Operation("GET", "/claims/{key:path}/url", "Get a URL to read a file", links.link, answer=Link),
        Operation("DELETE", "/claims/{key:path}", "Delete an uploaded file", links.delete, status=204),
        Operation("GET", "/tasks/{task_id}", "Get the state of a task", state, answer=TaskState),
        Operation("GET", "/health", "Check that the gateway runs", Health, answer=Health, is_public=True),
    ]
