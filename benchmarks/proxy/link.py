"""One client's connection, and what may happen to its requests."""

import http
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO

from benchmarks.proxy.messages import PIECE_BYTES, Answer, Head, body
from benchmarks.proxy.requests import Act, Request, is_described, process_of, request_of

if TYPE_CHECKING:
    from benchmarks.proxy.proxy import Proxy

RECEIPT = b'"ReceiptHandle"'
"""Once in an answer for each message that SQS hands out."""


class Server:
    """A connection to the server."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb", PIECE_BYTES)

    def close(self) -> None:
        """End the connection."""
        self.stream.close()
        self.socket.close()

    def is_silent(self) -> bool:
        """Return whether the server has neither closed the connection nor sent anything unasked."""
        return not select.select([self.socket], [], [], 0)[0]


class Link:
    """A client's connection, served by a thread of its own."""

    def __init__(self, proxy: "Proxy", client: socket.socket, port: int) -> None:
        self.proxy, self.client, self.port = proxy, client, port
        self.head: Head
        self.is_cut = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self._server: Server | None = None

    def _run(self) -> None:
        try:
            with self.client, self.client.makefile("rb", PIECE_BYTES) as stream, suppress(OSError):
                pid = process_of(self.port, self.proxy.port) if self.proxy.names_processes else None
                self.is_cut.wait(self.proxy.latency_seconds)
                while self._exchange(stream, pid):
                    pass
        finally:
            self._forget_server()
            self.proxy.ended(self)

    def _exchange(self, stream: BinaryIO, pid: int | None) -> bool:
        head = Head.read(stream)
        if head is None:
            return False
        self.head = head
        if "expect" in head.headers:
            self.is_cut.wait(self.proxy.latency_seconds)
            self.client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        content: Iterable[bytes] = body(stream, head)
        if is_described(head):
            content = [b"".join(content)]
        request = request_of(head, content, self.port, pid)
        stays_open = self._break(request, content)
        return stays_open and head.headers.get("connection", "").lower() != "close"

    def _break(self, request: Request, content: Iterable[bytes]) -> bool:
        seconds, rule = self.proxy.plan(request)
        if seconds and self.is_cut.wait(seconds):
            return False
        if rule is None or rule.act is None:
            return passed(self, request, content)
        request.fault = rule.name
        return rule.act(self, request, content)

    @contextmanager
    def forwarded(self, request: Request, content: Iterable[bytes]) -> Iterator[Answer]:
        """Yield the server's answer, for as long as the block keeps the connection to it."""
        server = self._connected()
        try:
            for piece in chain([self.head.raw], content):
                server.socket.sendall(piece)
                request.sent_bytes += len(piece)
            answer = Answer.read(server.stream, request.method)
            yield answer
        except BaseException:
            self._forget_server()
            raise
        if not (self.proxy.keeps_connections and answer.stays_open and answer.is_kept):
            self._forget_server()

    def _connected(self) -> Server:
        if self._server is not None and not self._server.is_silent():
            self._forget_server()
        if self._server is None:
            self._server = Server(self.proxy.server)
        if self.is_cut.is_set():  # before there was a connection to the server to cut
            self._forget_server()
            raise ConnectionAbortedError
        return self._server

    def _forget_server(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def cut(self) -> None:
        """Reset the connection, at any point of its thread."""
        self.is_cut.set()
        with suppress(OSError):
            self.reset_on_close()
            self.client.shutdown(socket.SHUT_RD)
        with suppress(OSError, AttributeError):
            self._server.socket.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]

    def reset_on_close(self) -> None:
        """Let the end of this connection be a RST, and drop what is not sent yet."""
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _relay(pieces: Callable[[Answer], Iterable[bytes]], *, closes: bool = False) -> Act:
    """Make what a rule does: forward a request, and send the client these pieces of the answer."""

    def act(link: Link, request: Request, content: Iterable[bytes]) -> bool:
        with link.forwarded(request, content) as answer:
            request.status = answer.head.status
            for piece in pieces(answer):
                link.client.sendall(piece)
                request.answered_bytes += len(piece)
                if request.operation == "ReceiveMessage":
                    request.received += piece.count(RECEIPT)
            request.answered_at = time.monotonic()
        return answer.stays_open and not closes

    return act


passed = _relay(Answer.whole)
flipped = _relay(Answer.flipped)
truncated = _relay(Answer.half, closes=True)
lost = _relay(Answer.nothing, closes=True)


def reset(link: Link, request: Request, content: Iterable[bytes]) -> bool:
    """Send half of the answer, and reset the connection."""
    link.reset_on_close()
    return truncated(link, request, content)


def trickled(seconds: float) -> Act:
    """Make a rule's act: no pause is long enough to be taken for silence."""

    def act(link: Link, request: Request, content: Iterable[bytes]) -> bool:
        with link.forwarded(request, content) as answer:
            request.status = answer.head.status
            link.client.sendall(answer.head.raw)
            for byte in chain.from_iterable(answer.body):
                link.client.sendall(bytes([byte]))
                if link.is_cut.wait(seconds):
                    break
        return False

    return act


def failed(status: int, text: bytes) -> Act:
    """Make a rule's act: answer with this status, and do not ask the server."""

    def act(link: Link, request: Request, content: Iterable[bytes]) -> bool:
        for _ in content:
            pass
        request.status = status
        reason = http.HTTPStatus(status).phrase
        head = f"HTTP/1.1 {status} {reason}\r\nContent-Length: {len(text)}\r\n\r\n"
        link.client.sendall(head.encode() + (b"" if request.method == "HEAD" else text))
        return True

    return act
