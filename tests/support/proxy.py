"""A reverse proxy that breaks things on order, between a client and a stand-in for AWS.

It runs in the test's process, writes down every request, and passes messages on as they are, but for the
``Connection`` header of answers: it keeps clients' connections open, even if the server closes them::

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
from contextlib import contextmanager, suppress
from itertools import chain
from urllib.parse import urlsplit

from http_messages import PIECE_BYTES, Answer, Head, body
from proxy_requests import Request, Rule, matcher, process_of, request_of

HOST = "127.0.0.1"


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
                pid = process_of(self.port, self.proxy.port)
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
        request = request_of(self.head, content, self.port, pid)
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
        """Reset the connection, at any point of its thread."""
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
        matches = matcher(match)
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
        rule = Rule(name, matcher(match), times, act, seconds)
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
