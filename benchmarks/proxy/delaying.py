"""A proxy of TCP between clients and a server: it delays what clients send, and counts nothing."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from pipeline.local import HOST

READ_BYTES = 262_144


class DelayingProxy:
    """For Redis: bytes arrive at the server with the delay, in their order, and answers at once.

    It runs on a thread of its own for the length of a ``with`` block. A connect takes the delay, too.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.latency_seconds = 0.0
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.Task[None] | None] = set()  # asyncio itself holds tasks weakly
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        serving = asyncio.start_server(self._connected, HOST, 0)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result()
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for each in others:
            each.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # closed transports close their sockets in the next turn of the loop

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(task := asyncio.current_task())
        await asyncio.sleep(self.latency_seconds)
        server_reader, server_writer = await asyncio.open_connection(HOST, self.target_port, limit=READ_BYTES)
        with suppress(ConnectionError, asyncio.CancelledError):
            answers = asyncio.create_task(_pump(server_reader, writer.write))
            await _pump(reader, lambda data: self._delayed(server_writer, data))
            answers.cancel()
        for each in (writer, server_writer):
            each.close()
        self._connections.discard(task)

    def _delayed(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if self.latency_seconds:
            self._loop.call_later(self.latency_seconds, writer.write, data)
        else:
            writer.write(data)


async def _pump(reader: asyncio.StreamReader, write: Callable[[bytes], None]) -> None:
    while data := await reader.read(READ_BYTES):
        write(data)
