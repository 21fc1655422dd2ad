"""The pages for people: upload a file and watch its task; read what can be requested."""

from collections.abc import Sequence
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from pipeline.gateway.openapi import document
from pipeline.gateway.operations import Operation

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; connect-src *; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""The page loads nothing from elsewhere; it sends files to the bucket, whose address it does not know."""

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="static/page.css">
{body}
</html>
"""
_UPLOAD = """<main>
<h1>Upload a file</h1>
<p>The file goes straight into the bucket. A task runs when it is there; its result is shown here.</p>
<label id="token-row">Access token <input id="token" type="password" autocomplete="off"></label>
<label id="drop" for="files"><input id="files" type="file" multiple>
<strong>Drop files here</strong><span>or choose them</span></label>
<ol id="uploads" aria-live="polite"></ol>
<footer><a href="docs">What can be requested</a></footer>
</main>
<script src="static/page.js"></script>"""


def routes(operations: Sequence[Operation]) -> list[BaseRoute]:
    """Return the routes of the pages and of what they load. All of them are public, and hold no data."""
    requests = _PAGE.format(title="Claim check gateway", body=_requests(document(operations)))

    def upload_page(_: Request) -> Response:
        return HTMLResponse(_PAGE.format(title="Upload a file", body=_UPLOAD), headers=HEADERS)

    def requests_page(_: Request) -> Response:
        return HTMLResponse(requests, headers=HEADERS)

    return [
        Route("/", upload_page),
        Route("/docs", requests_page),
        Mount("/static", StaticFiles(packages=[("pipeline.gateway", "static")])),
    ]


def _requests(described: dict[str, Any]) -> str:
    """Return the OpenAPI document as HTML: a section for each request."""
    sections = [
        _request(method, path, about, described["components"]["schemas"])
        for path, methods in described["paths"].items()
        for method, about in methods.items()
    ]
    head = '<h1>Claim check gateway</h1><p>As a document: <a href="openapi.json">openapi.json</a>.</p>'
    return f"<main>{head}{''.join(sections)}</main>"


def _request(method: str, path: str, about: dict[str, Any], schemas: dict[str, Any]) -> str:
    taken = about.get("requestBody")
    given = next(iter(about["responses"].values()))
    access = "Needs credentials." if about["security"] else "Public."
    return (
        f'<section><h2><span class="method">{method.upper()}</span> <code>{escape(path)}</code></h2>'
        f"<p>{escape(about['summary'])}. {access}</p>"
        f"{_fields('Body', taken, schemas)}{_fields('Answer', given, schemas)}</section>"
    )


def _fields(title: str, content: dict[str, Any] | None, schemas: dict[str, Any]) -> str:
    """Return a table of the fields of a body or an answer."""
    if not content or "content" not in content:
        return ""
    name = content["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    schema = schemas[name]
    required = schema.get("required", [])
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code></td><td>{escape(_kind(kind))}</td>"
        f"<td>{'required' if field in required else 'optional'}</td></tr>"
        for field, kind in schema["properties"].items()
    )
    return f"<table><caption>{title}: {escape(name)}</caption>{rows}</table>"


def _kind(schema: dict[str, Any]) -> str:
    kinds = [_kind(each) for each in schema.get("anyOf", ())]
    if kinds:
        return " or ".join(kinds)
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    return str(schema.get("description") or schema.get("format") or schema.get("type", "any value"))
