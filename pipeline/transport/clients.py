"""Clients of SQS and SNS, also with 5 s timeouts and no retries, for the heartbeat.

One heartbeat thread extends every message of the process. botocore's default clients wait a minute for an
answer, three times: longer than a message stays hidden.
Source: botocore 1.44, ``endpoint.py`` (``DEFAULT_TIMEOUT``), ``retries/standard.py``.
"""

from typing import Any

from botocore.config import Config

from pipeline.aws.credentials import renew_when_denied
from pipeline.aws.session import botocore_session

TIMEOUT_SECONDS = 5
_CONFIG = Config(
    connect_timeout=TIMEOUT_SECONDS, read_timeout=TIMEOUT_SECONDS, retries={"total_max_attempts": 1}
)


class ShortTimeoutClients:
    """Keeps a short-timeout copy of each queue's client. For one thread."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[Any, Any]] = {}

    def of(self, queue_url: str, client: Any) -> Any:
        """Return the copy of a queue's client; a new one if Kombu has replaced the client, as for STS."""
        known, made = self._made.get(queue_url, (None, None))
        if known is not client:
            copies = (copy for each, copy in self._made.values() if each is client)
            made = next(copies, None) or short_timeout_client(client)
            self._made[queue_url] = client, made
        return made


def new_client(service: str, config: Config, **options: Any) -> Any:
    """Make a client that renews its credentials when AWS denies them. Safe for any thread.

    Args:
        service: ``sqs`` or ``sns``.
        config: timeouts and retries.
        options: of botocore's ``create_client``.
    """
    client = botocore_session().create_client(service, config=config, **options)
    renew_when_denied(client)
    return client


def short_timeout_client(client: Any) -> Any:
    """Copy a boto3 client with short timeouts: same endpoint, region, settings and renewed credentials."""
    signer = client._request_signer  # noqa: SLF001 - where botocore keeps credentials; as Kombu does
    if signer._credentials is None:  # noqa: SLF001
        return client
    now = signer._credentials.get_frozen_credentials()  # noqa: SLF001
    made = new_client(
        client.meta.service_model.service_name,
        client.meta.config.merge(_CONFIG),
        region_name=client.meta.region_name,
        endpoint_url=client.meta.endpoint_url,
        aws_access_key_id=now.access_key,
        aws_secret_access_key=now.secret_key,
        aws_session_token=now.token,
    )
    made._request_signer._credentials = signer._credentials  # noqa: SLF001
    return made
