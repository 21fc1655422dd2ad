"""Requests that the proxy has read, the names of their operations, and rules that match them."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import botocore.session
import psutil

from benchmarks.proxy.messages import Head

if TYPE_CHECKING:
    from benchmarks.proxy.link import Link


@dataclass
class Request:
    """A client's request and its outcome."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """By lower-case name."""
    operation: str
    """As boto3 calls it: ``GetObject``, ``SendMessage``, ``PutMetricData``."""
    client_port: int
    pid: int | None
    """Process that opened the connection."""
    fault: str | None = None
    """What was broken: the name of the proxy's verb."""
    status: int | None = None
    """What the server answered, whether or not the client got to know; or what ``fail`` did."""
    sent_bytes: int = 0
    """Of the request on the wire, its head included."""
    answered_bytes: int = 0
    """Of the answer on the wire, its head included."""
    answered_at: float | None = None
    """When the client had the answer, in seconds of the system's monotonic clock."""
    received: int = 0
    """Messages in an answer of SQS."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Of a form, or of the JSON in the body; the keys to delete."""

    @property
    def user_agent(self) -> str:
        """Return what the client calls itself."""
        return self.headers.get("user-agent", "")


def matcher(match: "Match") -> Callable[[Request], bool]:
    """Return the function that says whether a request is meant."""
    if callable(match):
        return match
    return lambda request: match in {None, request.operation}


def process_of(client_port: int, proxy_port: int) -> int | None:
    """Return the process at the other end of a connection; None if the system does not report it."""
    for each in psutil.net_connections("tcp4"):
        if each.raddr and (each.laddr.port, each.raddr.port) == (client_port, proxy_port):
            return each.pid
    return None


def request_of(head: Head, content: Iterable[bytes], client_port: int, pid: int | None) -> Request:
    """Return a request as its head says; content that describes it is a list of one piece."""
    method, target, _ = head.start.decode("latin-1").split()
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    form = _fields(head.headers, content[0]) if isinstance(content, list) else {}
    operation = _operation(method, parts.path, {**query, **form}, head.headers)
    where = (method, unquote(parts.path), query, head.headers)
    return Request(*where, operation, client_port, pid, fields=form)


def is_described(head: Head) -> bool:
    """Say whether the body says what is asked for: a form, JSON of AWS's own protocols, keys to delete."""
    kind = head.headers.get("content-type", "")
    if "content-encoding" in head.headers:
        return False
    return "form" in kind or "x-amz-json" in kind or head.start.partition(b" HTTP")[0].endswith(b"?delete")


def _fields(headers: Mapping[str, str], content: bytes) -> dict[str, Any]:
    kind = headers.get("content-type", "")
    if "form" in kind:
        return dict(parse_qsl(content.decode()))
    if "x-amz-json" in kind:
        return dict(json.loads(content or b"{}"))
    return {"Keys": re.findall("<Key>(.*?)</Key>", content.decode())}


def _operation(method: str, path: str, fields: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """Guess what boto3 calls a request; its own model knows for S3, the request itself for the others."""
    if "x-amz-target" in headers:
        return headers["x-amz-target"].rpartition(".")[2]
    if "Action" in fields:
        return fields["Action"]
    if path.startswith("/service/"):  # smithy-rpc-v2-cbor, which CloudWatch speaks
        return path.rpartition("/")[2]
    depth = min(len(path.strip("/").split("/", 1)) if path.strip("/") else 0, 2)
    for name, marks in _s3_operations().get((method, depth), ()):
        if marks <= {*fields, *headers}:
            return name
    return f"{method} {path}"


@cache
def _s3_operations() -> dict[tuple[str, int], list[tuple[str, set[str]]]]:
    """Return the names by method and depth of path, with what the request must carry; strictest first."""
    model = botocore.session.get_session().get_service_model("s3")
    found: dict[tuple[str, int], list[tuple[str, set[str]]]] = {}
    for each in (model.operation_model(name) for name in model.operation_names):
        path, _, query = each.http["requestUri"].partition("?")
        marks = {*dict(parse_qsl(query, keep_blank_values=True)), *_required(each.input_shape)}
        if not each.deprecated:
            found.setdefault((each.http["method"], path.count("{")), []).append((each.name, marks))
    return {at: sorted(names, key=lambda it: (-len(it[1]), len(it[0]))) for at, names in found.items()}


def _required(shape: Any) -> Iterator[str]:
    """Yield the query fields and headers that an operation cannot do without."""
    for name, member in shape.members.items() if shape else ():
        where = member.serialization.get("location")
        if name in shape.required_members and where in {"querystring", "header"}:
            yield member.serialization["name"]


Match = str | Callable[[Request], bool] | None
"""Requests that are meant: those of an operation, those that a function chooses, or all."""
Act = Callable[["Link", Request, Iterable[bytes]], bool]
"""Takes a connection, a request and its body; returns whether the connection stays open."""


@dataclass
class Rule:
    """An order to break something."""

    name: str
    match: Callable[[Request], bool]
    times: int | None
    act: Act | None = None
    """None for a delay."""
    seconds: float = 0.0
    used: int = field(default=0, init=False)

    def takes(self, request: Request) -> bool:
        """Say whether this request is to be broken, and count it."""
        if self.used == self.times or not self.match(request):
            return False
        self.used += 1
        return True
