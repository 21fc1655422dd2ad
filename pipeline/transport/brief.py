"""Clients that wait for nothing: the heartbeat's, whose one thread keeps every message of the process.

botocore waits a minute for an answer, three times: longer than a message stays hidden.
Source: botocore 1.44, ``endpoint.py`` (``DEFAULT_TIMEOUT``), ``retries/standard.py``.
"""

from typing import Any

from botocore.config import Config

from pipeline import aws
from pipeline.transport.sqs_errors import is_expired

TIMEOUT_SECONDS = 5
_CONFIG = Config(
    connect_timeout=TIMEOUT_SECONDS, read_timeout=TIMEOUT_SECONDS, retries={"total_max_attempts": 1}
)


class BriefClients:
    """Keeps a brief copy of each queue's client. For one thread."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[Any, Any]] = {}

    def of(self, queue_url: str, client: Any) -> Any:
        """Return the copy of a queue's client, made anew if Kombu has made another, as it does for STS."""
        known, made = self._made.get(queue_url, (None, None))
        if known is not client:
            made = next((copy for each, copy in self._made.values() if each is client), None) or brief(client)
            self._made[queue_url] = client, made
        return made


def brief(client: Any, config: Config = _CONFIG) -> Any:
    """Copy a boto3 client: its endpoint, region, settings, and its credentials as they are renewed."""
    signer = client._request_signer  # noqa: SLF001 - where botocore keeps credentials; Kombu looks there as well
    if signer._credentials is None:  # noqa: SLF001
        return client
    now = signer._credentials.get_frozen_credentials()  # noqa: SLF001
    made: Any = aws.session().create_client(
        client.meta.service_model.service_name,
        region_name=client.meta.region_name,
        endpoint_url=client.meta.endpoint_url,
        aws_access_key_id=now.access_key,
        aws_secret_access_key=now.secret_key,
        aws_session_token=now.token,
        config=client.meta.config.merge(config),
    )
    aws.renew_when_refused(made, is_expired)
    made._request_signer._credentials = signer._credentials  # noqa: SLF001
    return made
