"""A reverse proxy that breaks things on order, between a client and a stand-in for AWS.

It runs in the test's process, writes down every request, and passes messages on as they are, but for the
``Connection`` header of answers: it keeps clients' connections open, whatever the server behind it does::

    with Proxy(moto.url) as proxy:
        proxy.fail("PutObject", status=503, times=1)
        ...
        assert proxy.operations["PutObject"] == 2

Rules are tried in the order in which they were given, and the first that matches is used, until it has
been used ``times`` times. Delays come on top.
"""

import http
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import BinaryIO
from urllib.parse import parse_qsl, unquote, urlsplit

import botocore.session
import psutil

HOST = "127.0.0.1"
PIECE_BYTES = 262_144
"""How much of a body is in memory at a time."""


@dataclass
class Request:
    """What one client asked for, and what became of it."""

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


class Head:
    """First line and headers of a message, and the bytes that they came as."""

    def __init__(self, lines):
        self.start, *self.lines = lines
        named = (line.decode("latin-1").partition(":") for line in self.lines)
        self.headers = {name.strip().lower(): value.strip() for name, _, value in named}

    @classmethod
    def read(cls, stream: BinaryIO):
        """Read one head, or None at the end of the stream."""
        lines = []
        while (line := stream.readline()) not in {b"\r\n", b""}:
            lines.append(line)
        if lines and not line:
            raise ConnectionError("the head of a message ended early")
        return cls(lines) if lines else None

    @property
    def raw(self):
        return b"".join([self.start, *self.lines, b"\r\n"])

    @property
    def length(self):
        """Size of the body as promised, None if it is not."""
        text = self.headers.get("content-length")
        return int(text) if text is not None else None

    @property
    def is_chunked(self):
        return self.headers.get("transfer-encoding", "").lower() == "chunked"

    @property
    def status(self):
        """Status of an answer."""
        return int(self.start.split()[1])

    def without_connection(self):
        """Return the same head for a connection that stays open."""
        start = self.start.replace(b"HTTP/1.0", b"HTTP/1.1")
        return Head([start, *(line for line in self.lines if line[:11].lower() != b"connection:")])


@dataclass
class Answer:
    """What the server said; its body is still on the way."""

    head: Head
    body: Iterator[bytes]
    length: int
    """Size of the body, 0 if nobody knows."""
    stays_open: bool

    @classmethod
    def read(cls, stream: BinaryIO, method: str):
        head = Head.read(stream)
        while head and head.status == http.HTTPStatus.CONTINUE:
            head = Head.read(stream)
        if head is None:
            raise ConnectionError("the server closed the connection")
        if method == "HEAD" or head.status in {204, 304}:
            return cls(head.without_connection(), iter(()), 0, stays_open=True)
        if head.length is None and not head.is_chunked:
            return cls(head, iter(lambda: stream.read(PIECE_BYTES), b""), 0, stays_open=False)
        return cls(head.without_connection(), body(stream, head), head.length or 0, stays_open=True)

    def whole(self):
        return chain([self.head.raw], self.body)

    def half(self):
        """Yield the head and half of the body, or half of the first line if there is no body.

        Python's http.client takes headers that end early for all there are, and reports a success.
        """
        left = len(self.head.raw) + self.length // 2 if self.length else len(self.head.start) // 2
        for piece in self.whole():
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                return

    def nothing(self):
        """Take the whole body from the server, and yield nothing of it."""
        for piece in self.body:
            yield piece[:0]

    def flipped(self):
        """Yield everything, with one bit of the body's first byte wrong."""
        yield self.head.raw
        if self.head.is_chunked:
            yield next(self.body)
        for piece in self.body:
            yield bytes([piece[0] ^ 1]) + piece[1:]
            break
        yield from self.body


def body(stream: BinaryIO, head: Head) -> Iterator[bytes]:
    """Yield a body as it travels, marks of chunks included."""
    return _chunks(stream) if head.is_chunked else _pieces(stream, head.length or 0)


def _pieces(stream, size_bytes):
    while size_bytes:
        piece = stream.read(min(size_bytes, PIECE_BYTES))
        if not piece:
            raise ConnectionError("a body ended early")
        yield piece
        size_bytes -= len(piece)


def _chunks(stream):
    while size_bytes := int((line := stream.readline()).split(b";")[0], 16):
        yield line
        yield from _pieces(stream, size_bytes + len(b"\r\n"))
    yield line
    while (line := stream.readline()) not in {b"\r\n", b""}:
        yield line
    yield b"\r\n"


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


class Link:
    """One client's connection, served by a thread of its own."""

    def __init__(self, proxy, client, port):
        self.proxy, self.client, self.port = proxy, client, port
        self.server = None
        self.head = None
        self.is_cut = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            with self.client, self.client.makefile("rb", PIECE_BYTES) as stream, suppress(OSError):
                pid = _pid(self.port, self.proxy.port)
                while self._exchange(stream, pid):
                    pass
        finally:
            self.proxy.ended(self)

    def _exchange(self, stream, pid):
        self.head = Head.read(stream)
        if self.head is None:
            return False
        if "expect" in self.head.headers:
            self.client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        content = body(stream, self.head)
        if "form" in self.head.headers.get("content-type", ""):
            content = [b"".join(content)]
        request = _request(self.head, content, self.port, pid)
        stays_open = self._break(request, content)
        return stays_open and self.head.headers.get("connection", "").lower() != "close"

    def _break(self, request, content):
        seconds, rule = self.proxy.plan(request)
        if seconds and self.is_cut.wait(seconds):
            return False
        if rule is None:
            return _pass(self, request, content)
        request.fault = rule.name
        return rule.act(self, request, content)

    @contextmanager
    def forwarded(self, request, content):
        """Yield the server's answer, for as long as the block keeps the connection to it."""
        with (
            socket.create_connection(self.proxy.server) as self.server,
            self.server.makefile("rb", PIECE_BYTES) as stream,
        ):
            if self.is_cut.is_set():  # before there was a connection to the server to cut
                raise ConnectionAbortedError
            self.server.sendall(self.head.raw)
            for piece in content:
                self.server.sendall(piece)
            yield Answer.read(stream, request.method)

    def cut(self):
        """Reset the connection, whatever its thread is doing."""
        self.is_cut.set()
        with suppress(OSError):
            self.reset_on_close()
            self.client.shutdown(socket.SHUT_RD)
        with suppress(OSError, AttributeError):
            self.server.shutdown(socket.SHUT_RDWR)

    def reset_on_close(self):
        """Let the end of this connection be a RST, and drop what is not sent yet."""
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _relay(pieces, *, closes=False):
    """Make what a rule does: forward a request, and send the client these pieces of the answer."""

    def act(link, request, content):
        with link.forwarded(request, content) as answer:
            request.status = answer.head.status
            for piece in pieces(answer):
                link.client.sendall(piece)
        return answer.stays_open and not closes

    return act


_pass = _relay(Answer.whole)
_flip = _relay(Answer.flipped)
_truncate = _relay(Answer.half, closes=True)
_lose = _relay(Answer.nothing, closes=True)


def _reset(link, request, content):
    link.reset_on_close()
    return _truncate(link, request, content)


def _trickle(seconds):
    """Make a rule's act: no pause is long enough to be taken for silence."""

    def act(link, request, content):
        with link.forwarded(request, content) as answer:
            request.status = answer.head.status
            link.client.sendall(answer.head.raw)
            for byte in chain.from_iterable(answer.body):
                link.client.sendall(bytes([byte]))
                if link.is_cut.wait(seconds):
                    break
        return False

    return act


def _fail(status, text):
    def act(link, request, content):
        for _ in content:
            pass
        request.status = status
        reason = http.HTTPStatus(status).phrase
        head = f"HTTP/1.1 {status} {reason}\r\nContent-Length: {len(text)}\r\n\r\n"
        link.client.sendall(head.encode() + (b"" if request.method == "HEAD" else text))
        return True

    return act


class Proxy:
    """The proxy itself. Its verbs may be called at any time, from any thread.

    ``match`` says which requests a verb is for: an operation's name, a function of a :class:`Request`, or
    None for all. ``times`` says for how many of them; None for all. Every such verb returns its
    :class:`Rule`, whose ``used`` counts.
    """

    def __init__(self, server_url):
        parts = urlsplit(server_url)
        self.server = (parts.hostname, parts.port)
        self.requests: list[Request] = []
        self._rules, self._links = [], set()
        self._lock = threading.Lock()
        self._listener = self._thread = None
        self._reserved = _bound(0)
        self.port = self._reserved.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}"

    def __enter__(self):
        self.accept()
        return self

    def __exit__(self, *_):
        self.refuse()
        self._reserved.close()

    def fail(self, match=None, status=503, times=None, content=b""):
        """Answer with ``status`` without asking the server, which never sees the request."""
        return self._order("fail", match, times, _fail(status, content))

    def reset(self, match=None, times=None):
        """Let the server act, and reset the connection in the middle of its answer."""
        return self._order("reset", match, times, _reset)

    def truncate(self, match=None, times=None):
        """Let the server act, promise its whole answer, send half of it, and close the connection."""
        return self._order("truncate", match, times, _truncate)

    def flip(self, match=None, times=None):
        """Change one bit of the answer's body."""
        return self._order("flip", match, times, _flip)

    def trickle(self, match=None, times=None, seconds=0.2):
        """Send the head of the answer, and then a byte of its body at a time, with pauses."""
        return self._order("trickle", match, times, _trickle(seconds))

    def lose(self, match=None, times=None):
        """Let the server act, and close the connection without a word."""
        return self._order("lose", match, times, _lose)

    def delay(self, seconds, match=None, times=None):
        """Hold a request back before anything else happens to it."""
        return self._order("delay", match, times, None, seconds)

    def heal(self):
        """Forget all rules, and accept connections."""
        with self._lock:
            self._rules.clear()
        self.accept()

    def refuse(self):
        """Reset all connections, and refuse new ones. Safe to call twice."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        listener.close()
        with self._lock:
            links = [*self._links]
        for link in links:
            link.cut()
        for link in links:
            link.thread.join(5)

    def accept(self):
        """Accept connections again, on the same port. Safe to call twice."""
        if self._listener is None:
            self._listener = _bound(self.port)
            self._listener.listen(128)
            self._thread = threading.Thread(target=self._serve, args=(self._listener,), daemon=True)
            self._thread.start()

    def seen(self, match=None):
        """Return the requests that match, in the order in which they came."""
        matches = _matcher(match)
        return [request for request in tuple(self.requests) if matches(request)]

    @property
    def operations(self):
        """How often each operation was asked for: ``{"GetObject": 2}``."""
        return Counter(request.operation for request in tuple(self.requests))

    def plan(self, request):
        """Write a request down, and return how long to hold it and the rule that breaks it."""
        self.requests.append(request)
        with self._lock:
            delays = [rule for rule in self._rules if rule.act is None]
            faults = [rule for rule in self._rules if rule.act is not None]
            seconds = sum(rule.seconds for rule in delays if rule.takes(request))
            return seconds, next((rule for rule in faults if rule.takes(request)), None)

    def ended(self, link):
        """Forget a connection that is closed."""
        with self._lock:
            self._links.discard(link)

    def _order(self, name, match, times, act, seconds=0.0):
        rule = Rule(name, _matcher(match), times, act, seconds)
        with self._lock:
            self._rules.append(rule)
        return rule

    def _serve(self, listener):
        while True:
            try:
                client, address = listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = Link(self, client, address[1])
            with self._lock:
                self._links.add(link)
            link.thread.start()


def _bound(port):
    """Return a socket bound to a port that it shares.

    One that never listens keeps the port ours while the proxy refuses connections.
    """
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((HOST, port))
    return bound


def _matcher(match):
    if callable(match):
        return match
    return lambda request: match in {None, request.operation}


def _pid(client_port, proxy_port):
    """Return the process at the other end of a connection; None if the system does not tell."""
    for each in psutil.net_connections("tcp4"):
        if each.raddr and (each.laddr.port, each.raddr.port) == (client_port, proxy_port):
            return each.pid
    return None


def _request(head, content, client_port, pid):
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
