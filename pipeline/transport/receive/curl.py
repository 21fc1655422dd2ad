"""HTTP of the event loop: requests with a timeout, and a client that reads pending answers before it closes.

A worker that stops cancels its consumers and closes its event loop while a ReceiveMessage may be under way.
SQS answers with a message and hides it, and the answer is not read. So the client reads it before it closes,
and the channel, which has no consumer by then, makes the message visible again.
Source: kombu 5.7.0, ``asynchronous/http/curl.py`` (``CurlClient``), ``asynchronous/hub.py`` (``Hub._close``).
"""

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

from kombu.asynchronous.aws.connection import AsyncHTTPSConnection
from kombu.asynchronous.http.curl import CurlClient

CONNECT_SECONDS = 5
ANSWER_SECONDS = 10
"""How long an answer may take, on top of the time for which SQS was asked to wait."""
LAST_ANSWER_SECONDS = 2
"""The same for an answer that keeps the event loop from closing."""
POLL_SECONDS = 0.2
REQUESTS_LIMIT = 40
"""Most requests at the same time. With Kombu's 10, the long polls of ten queues keep an eleventh waiting."""


class Client(CurlClient):
    """Kombu's client, which reads pending answers before it closes. Used by the event loop's thread."""

    @classmethod
    def of(cls, hub: Any) -> "Client":
        """Return the client of an event loop; Kombu keeps it in the same place."""
        client = getattr(hub, "_current_http_client", None)
        if not isinstance(client, cls):
            client = hub._current_http_client = cls(hub, REQUESTS_LIMIT)  # noqa: SLF001
        return client

    def _on_hub_close(self, hub: Any) -> None:
        while self._is_awaiting():
            if self._multi.select(POLL_SECONDS) < 0:  # curl has no socket to wait for
                sleep(POLL_SECONDS)
            self._multi.perform()
            self._process_pending_requests()
        super()._on_hub_close(hub)

    def _timeout_check(self, *args: Any) -> None:
        """Look for answers. Kombu leaves its timers behind when it closes."""
        if not self._closed:
            super()._timeout_check(*args)

    def _is_awaiting(self) -> bool:
        underway = [curl.info["request"] for curl in self._curls if curl not in self._free_list]
        return any(request.is_awaited() for request in underway if hasattr(request, "is_awaited"))


class Connection(AsyncHTTPSConnection):
    """A connection whose requests time out. Kombu has the settings for that, and does not pass them to curl.

    A request over a connection that a router has dropped gets no answer and no error: its queue would stop.
    Source: kombu 5.7.0, ``asynchronous/http/curl.py`` (``_setup_request``).

    Args:
        wait_seconds: how long the server was asked to wait.
        must_read: returns whether the answer is read before the event loop closes.
        client: what performs the request.
    """

    def __init__(self, wait_seconds: int, must_read: Callable[[], bool], client: Any) -> None:
        super().__init__(timeout=wait_seconds + ANSWER_SECONDS, http_client=client)
        self._must_read = must_read
        self._last = monotonic() + wait_seconds + LAST_ANSWER_SECONDS

    def getrequest(self) -> Any:
        """Return the request, with what the client calls when curl has taken it on, and when it closes."""
        request = super().getrequest()
        request.on_prepare = self._limit
        request.is_awaited = self._is_awaited
        return request

    def _is_awaited(self) -> bool:
        return monotonic() < self._last and self._must_read()

    def _limit(self, curl: Any) -> None:
        curl.setopt(curl.NOSIGNAL, 1)  # no SIGALRM: a worker has threads
        curl.setopt(curl.CONNECTTIMEOUT, CONNECT_SECONDS)
        curl.setopt(curl.TIMEOUT, self.timeout)
