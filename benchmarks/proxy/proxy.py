"""A reverse proxy that counts, delays, and breaks things on order, between a client and a stand-in for AWS.

It runs in the process of a test or of a benchmark, writes down every request, and passes messages on as they
are, but for the ``Connection`` header of answers: it keeps clients' connections open, even if the server
closes them::

    with Proxy(moto.url) as proxy:
        proxy.fail("PutObject", status=503, times=1)
        ...
        assert proxy.operations["PutObject"] == 2

Rules are tried in the order in which they were given, and the first that matches is used, until it has
been used ``times`` times. Delays come on top.
"""

import socket
import threading
from collections import Counter
from typing import Self
from urllib.parse import urlsplit

from benchmarks.proxy.link import Link, failed, flipped, lost, reset, trickled, truncated
from benchmarks.proxy.requests import Act, Match, Request, Rule, matcher
from pipeline.local import HOST


class Proxy:
    """The proxy itself. Its verbs may be called at any time, from any thread.

    ``match`` says which requests a verb is for: an operation's name, a function of a :class:`Request`, or
    None for all. ``times`` says for how many of them; None for all. Every such verb returns its
    :class:`Rule`, whose ``used`` counts.

    Args:
        server_url: where requests go.
        names_processes: look for the process of each connection, which takes some milliseconds.
        keeps_connections: use a connection to the server for many requests, as clients do.

    ``latency_seconds`` is the time of a round trip: it is added to each connect, to each request, and to each
    wait for ``100 Continue``.
    """

    def __init__(
        self, server_url: str, *, names_processes: bool = True, keeps_connections: bool = False
    ) -> None:
        parts = urlsplit(server_url)
        assert parts.hostname
        assert parts.port
        self.server = (parts.hostname, parts.port)
        self.names_processes = names_processes
        self.keeps_connections = keeps_connections
        self.latency_seconds = 0.0
        self.requests: list[Request] = []
        self._rules: list[Rule] = []
        self._links: set[Link] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._reserved = _bound(0)
        self.port = self._reserved.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}"

    def __enter__(self) -> Self:
        self.accept()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self._reserved.close()

    def fail(
        self, match: Match = None, status: int = 503, times: int | None = None, content: bytes = b""
    ) -> Rule:
        """Answer with ``status`` without asking the server, which never sees the request."""
        return self._order("fail", match, times, failed(status, content))

    def reset(self, match: Match = None, times: int | None = None) -> Rule:
        """Let the server act, and reset the connection in the middle of its answer."""
        return self._order("reset", match, times, reset)

    def truncate(self, match: Match = None, times: int | None = None) -> Rule:
        """Let the server act, promise its whole answer, send half of it, and close the connection."""
        return self._order("truncate", match, times, truncated)

    def flip(self, match: Match = None, times: int | None = None) -> Rule:
        """Change one bit of the answer's body."""
        return self._order("flip", match, times, flipped)

    def trickle(self, match: Match = None, times: int | None = None, seconds: float = 0.2) -> Rule:
        """Send the head of the answer, and then a byte of its body at a time, with pauses."""
        return self._order("trickle", match, times, trickled(seconds))

    def lose(self, match: Match = None, times: int | None = None) -> Rule:
        """Let the server act, and close the connection without a word."""
        return self._order("lose", match, times, lost)

    def delay(self, seconds: float, match: Match = None, times: int | None = None) -> Rule:
        """Hold a request back before anything else happens to it."""
        return self._order("delay", match, times, None, seconds)

    def heal(self) -> None:
        """Forget all rules, and accept connections."""
        with self._lock:
            self._rules.clear()
        self.accept()

    def refuse(self) -> None:
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

    def accept(self) -> None:
        """Accept connections again, on the same port. Safe to call twice."""
        if self._listener is None:
            self._listener = _bound(self.port)
            self._listener.listen(128)
            self._thread = threading.Thread(target=self._serve, args=(self._listener,), daemon=True)
            self._thread.start()

    def seen(self, match: Match = None) -> list[Request]:
        """Return the requests that match, in the order in which they came."""
        matches = matcher(match)
        return [request for request in tuple(self.requests) if matches(request)]

    @property
    def operations(self) -> Counter[str]:
        """How often each operation was asked for: ``{"GetObject": 2}``."""
        return Counter(request.operation for request in tuple(self.requests))

    def plan(self, request: Request) -> tuple[float, Rule | None]:
        """Write a request down, and return how long to hold it and the rule that breaks it."""
        self.requests.append(request)
        with self._lock:
            delays = [rule for rule in self._rules if rule.act is None]
            faults = [rule for rule in self._rules if rule.act is not None]
            seconds = self.latency_seconds + sum(rule.seconds for rule in delays if rule.takes(request))
            return seconds, next((rule for rule in faults if rule.takes(request)), None)

    def ended(self, link: Link) -> None:
        """Forget a connection that is closed."""
        with self._lock:
            self._links.discard(link)

    def _order(
        self, name: str, match: Match, times: int | None, act: Act | None, seconds: float = 0.0
    ) -> Rule:
        rule = Rule(name, matcher(match), times, act, seconds)
        with self._lock:
            self._rules.append(rule)
        return rule

    def _serve(self, listener: socket.socket) -> None:
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


def _bound(port: int) -> socket.socket:
    """Return a socket bound to a port that it shares.

    One that never listens keeps the port ours while the proxy refuses connections.
    """
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((HOST, port))
    return bound
