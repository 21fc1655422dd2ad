"""Requests that the proxy has read, the names of their operations, and rules that match them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import parse_qsl, unquote, urlsplit

import botocore.session
import psutil


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

    @property
    def user_agent(self):
        return self.headers.get("user-agent", "")


def matcher(match):
    if callable(match):
        return match
    return lambda request: match in {None, request.operation}


def process_of(client_port, proxy_port):
    """Return the process at the other end of a connection; None if the system does not report it."""
    for each in psutil.net_connections("tcp4"):
        if each.raddr and (each.laddr.port, each.raddr.port) == (client_port, proxy_port):
            return each.pid
    return None


def request_of(head, content, client_port, pid):
    method, target, _ = head.start.decode("latin-1").split()
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    form = dict(parse_qsl(content[0].decode())) if isinstance(content, list) else {}
    operation = _operation(method, parts.path, {**query, **form}, head.headers)
    return Request(method, unquote(parts.path), query, head.headers, operation, client_port, pid)


def _operation(method, path, fields, headers):
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
def _s3_operations():
    """Return the names by method and depth of path, with what the request must carry; strictest first."""
    model = botocore.session.get_session().get_service_model("s3")
    found = {}
    for each in (model.operation_model(name) for name in model.operation_names):
        path, _, query = each.http["requestUri"].partition("?")
        marks = {*dict(parse_qsl(query, keep_blank_values=True)), *_required(each.input_shape)}
        if not each.deprecated:
            found.setdefault((each.http["method"], path.count("{")), []).append((each.name, marks))
    return {at: sorted(names, key=lambda it: (-len(it[1]), len(it[0]))) for at, names in found.items()}


def _required(shape):
    """Yield the query fields and headers that an operation cannot do without."""
    for name, member in shape.members.items() if shape else ():
        where = member.serialization.get("location")
        if name in shape.required_members and where in {"querystring", "header"}:
            yield member.serialization["name"]


@dataclass
class Rule:
    """An order to break something."""

    name: str
    match: Callable[[Request], bool]
    times: int | None
    act: Callable | None = None
    """Takes a link, a request and its body; says whether the connection stays open. None for a delay."""
    seconds: float = 0.0
    used: int = field(default=0, init=False)

    def takes(self, request):
        """Say whether this request is to be broken, and count it."""
        if self.used == self.times or not self.match(request):
            return False
        self.used += 1
        return True
