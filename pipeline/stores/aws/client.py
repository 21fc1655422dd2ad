"""One boto3 client per process, created on first use and never used after a fork."""

import os
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from boto3.session import Session
from botocore.config import Config

from pipeline.aws.credentials import renew_when_denied
from pipeline.aws.session import botocore_session

CONNECT_TIMEOUT_SECONDS = 5.0
"""A healthy endpoint answers a SYN in milliseconds; five seconds allow for one or two lost packets."""

ATTEMPTS_COUNT = 3
"""Attempts of botocore for one request: enough for a closed idle connection and one 503. The caller handles
longer outages, because it knows how long a task may wait."""

POOL_CONNECTIONS_COUNT = 64
"""Connections kept open: eight threads of a worker, with eight transfers each. They are opened on demand, so
a prefork child has one to eight; a 65th works too, and is closed after use."""


@dataclass(frozen=True, slots=True)
class ClientPerProcess:
    """Returns this process's client. Safe to share between threads, to inherit by fork, and to pickle.

    Creating a client takes 40-100 ms, so there is one. Sockets must not be shared over a fork, so there is
    one per process id. Locks are per process id too: a child never waits for a lock that a thread of its
    parent had locked at the fork.
    """

    service: str
    """boto3's name of it."""
    region: str | None
    timeout_seconds: float
    attempts_count: int = ATTEMPTS_COUNT
    _clients: dict[int, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    _locks: dict[int, Lock] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.service, self.region, self.timeout_seconds, self.attempts_count)

    def get(self) -> Any:
        """Return this process's client, and create it if need be.

        Raises:
            ValueError: botocore's configuration is wrong, for example an endpoint URL without scheme.
        """
        process = os.getpid()
        client = self._clients.get(process)
        if client is None:
            with self._locks.setdefault(process, Lock()):
                client = self._clients.get(process) or self._make()
                self._clients[process] = client
        return client

    def close(self) -> None:
        """Close this process's connections; the next call opens new ones. Safe to call twice."""
        client = self._clients.pop(os.getpid(), None)
        if client is not None:
            client.close()

    def region_name(self) -> str:
        """Return the region of this process's client, or the configured one. Never fails."""
        client = self._clients.get(os.getpid())
        return client.meta.region_name if client else str(self.region)

    def _make(self) -> Any:
        # A separate session: boto3's default one is shared with the application, and not thread-safe.
        session: Any = Session(region_name=self.region, botocore_session=botocore_session())
        client = session.client(self.service, config=self._config())
        client.meta.events.register_last(f"before-call.{self.service}", _send_at_once)
        renew_when_denied(client)
        _let_urls_be_regional(client)
        return client

    def _config(self) -> Config:
        return Config(
            connect_timeout=min(CONNECT_TIMEOUT_SECONDS, self.timeout_seconds),
            read_timeout=self.timeout_seconds,
            max_pool_connections=POOL_CONNECTIONS_COUNT,
            retries={"mode": "standard", "total_max_attempts": self.attempts_count},
            # The claim's digest covers more than S3's CRC does, and ranges carry no CRC at all.
            response_checksum_validation="when_required",
            # For URLs, boto3's default is version 2, which signs no size and no checksum, and knows no KMS.
            # Source: botocore 1.44, client.py, _default_s3_presign_to_sigv2.
            signature_version="s3v4" if self.service == "s3" else None,
        )


def _let_urls_be_regional(client: Any) -> None:
    """Let presigned URLs name the bucket's own region: S3's global address redirects or fails elsewhere.

    Source: botocore 1.44.5, ``signers.py``, ``_should_use_global_endpoint``; how the client itself addresses
    buckets was decided when it was made.
    """
    config = client.meta.config
    config.s3 = {**(config.s3 or {}), "addressing_style": "virtual"}


def _send_at_once(params: dict[str, Any], **_: object) -> None:
    """Remove ``Expect: 100-continue``: it costs a round trip, and helps only if the request is rejected.

    Source: botocore 1.44.5, ``handlers.py``, ``add_expect_header``.
    """
    params["headers"].pop("Expect", None)
