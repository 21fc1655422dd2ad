"""A proxy between the peers and their servers: it delays each request, and counts calls of AWS and bytes."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qs, urlsplit

from pipeline.local import HOST

BILLED_BYTES = 65_536
"""SQS bills each 64 KiB of a request or an answer as one request."""
READ_BYTES = 262_144
OBJECT_OPERATIONS = {"PUT": "PutObject", "GET": "GetObject", "DELETE": "DeleteObject", "HEAD": "HeadObject"}
BUCKET_OPERATIONS = {
    "POST": "DeleteObjects",
    "GET": "ListObjectsV2",
    "PUT": "CreateBucket",
    "HEAD": "HeadBucket",
}


@dataclass
class Message:
    """One HTTP request or answer: its head and its body, as they travel."""

    start: str
    headers: dict[str, str]
    head: bytes
    body: bytes = b""

    @property
    def size_bytes(self) -> int:
        """Return the bytes on the wire."""
        return len(self.head) + len(self.body)


async def read_head(reader: asyncio.StreamReader) -> Message:
    """Read first line and headers; an IncompleteReadError says that the connection is closed."""
    head = await reader.readuntil(b"\r\n\r\n")
    start, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    return Message(start, {name.lower(): value.strip() for name, _, value in pairs}, head)


async def read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    """Read a body, whose chunks, if it has any, stay as they are."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        body += line + await reader.readexactly(size + 2)
        if size == 0:
            return body


def operation(request: Message) -> str:
    """Return service and operation, as boto3 calls them: ``SQS SendMessage``, ``S3 PutObject``."""
    if "x-amz-target" in request.headers:
        return "SQS " + request.headers["x-amz-target"].rpartition(".")[2]
    method, target, _ = request.start.split(" ")
    url = urlsplit(target)
    is_form = "x-www-form-urlencoded" in request.headers.get("content-type", "")
    fields = parse_qs(url.query) | (parse_qs(request.body.decode()) if is_form else {})
    if "Action" in fields:
        return "SQS " + fields["Action"][0]
    is_object = "/" in url.path.strip("/")
    return "S3 " + (OBJECT_OPERATIONS if is_object else BUCKET_OPERATIONS).get(method, method)


@dataclass
class Counts:
    """What passed the proxy."""

    calls: Counter[str] = field(default_factory=Counter)
    """By service and operation."""
    billed: Counter[str] = field(default_factory=Counter)
    """Requests as AWS bills them."""
    wire_bytes: int = 0
    """Both ways, HTTP heads included."""

    def add(self, request: Message, answer: Message) -> None:
        """Count a call."""
        name = operation(request)
        largest = max(len(request.body), len(answer.body))
        self.calls[name] += 1
        self.billed[name] += max(1, -(-largest // BILLED_BYTES)) if name.startswith("SQS") else 1
        self.wire_bytes += request.size_bytes + answer.size_bytes


class Proxy:
    """A TCP server on a thread of its own, in front of another port, for the length of a ``with`` block."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.delay_seconds = 0.0
        self.counts = Counts()
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.Task[None] | None] = set()  # asyncio itself holds tasks weakly
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        serving = asyncio.start_server(self._connected, HOST, 0)
        server = asyncio.run_coroutine_threadsafe(serving, self._loop).result()
        self.port: int = server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def start(self, delay_seconds: float) -> None:
        """Begin to count at zero, with this delay for each request."""
        self.delay_seconds, self.counts = delay_seconds, Counts()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(task := asyncio.current_task())
        server_reader, server_writer = await asyncio.open_connection(HOST, self.target_port, limit=READ_BYTES)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self.relay(reader, writer, server_reader, server_writer)
        for each in (writer, server_writer):
            each.close()
        self._connections.discard(task)

    async def relay(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server_reader: asyncio.StreamReader,
        server_writer: asyncio.StreamWriter,
    ) -> None:
        """Pass on what a connection carries until one side closes it."""
        raise NotImplementedError


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for each in others:
        each.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class HTTPProxy(Proxy):
    """For AWS: the delay comes once for each request, and once more where a client waits to send its body."""

    async def relay(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server_reader: asyncio.StreamReader,
        server_writer: asyncio.StreamWriter,
    ) -> None:
        """Pass on requests and answers, one after another."""
        while True:
            request = await self._request(reader, writer)
            counts = self.counts  # a long poll may end when the next peer has begun
            await asyncio.sleep(self.delay_seconds)
            server_writer.write(request.head + request.body)
            answer = await _answer(server_reader, request.start.startswith("HEAD "))
            counts.add(request, answer)
            writer.write(answer.head + answer.body)
            await writer.drain()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Message:
        request = await read_head(reader)
        if request.headers.get("expect") == "100-continue":
            await asyncio.sleep(self.delay_seconds)
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.body = await read_body(reader, request.headers)
        return request


async def _answer(reader: asyncio.StreamReader, is_head: bool) -> Message:  # noqa: FBT001
    answer = await read_head(reader)
    while answer.start.split(" ")[1] == "100":
        answer = await read_head(reader)
    if not is_head and answer.start.split(" ")[1] not in {"204", "304"}:
        answer.body = await read_body(reader, answer.headers)
    return answer


class DelayingProxy(Proxy):
    """For Redis: bytes arrive at the server with the delay, in their order, and answers at once."""

    async def relay(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server_reader: asyncio.StreamReader,
        server_writer: asyncio.StreamWriter,
    ) -> None:
        """Pass on both directions at the same time."""

        def delayed(data: bytes) -> None:
            if self.delay_seconds:
                self._loop.call_later(self.delay_seconds, server_writer.write, data)
            else:
                server_writer.write(data)

        answers = asyncio.create_task(_pump(server_reader, writer.write))
        await _pump(reader, delayed)
        answers.cancel()


async def _pump(reader: asyncio.StreamReader, write: Callable[[bytes], None]) -> None:
    while data := await reader.read(READ_BYTES):
        write(data)
