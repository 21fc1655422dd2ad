"""Credentials of an assumed role (``sts_role_arn``), renewed by the thread that uses them.

Kombu renews them when a channel asks for a client, which a busy worker does not while its task runs; and of
several queues it renews those of the one that asks first. Until then SQS would deny every heartbeat.
Source: kombu 5.7.0, ``transport/SQS`` (``_handle_sts_session``, ``is_sts_token_refresh_required``).
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.config import Config
from botocore.credentials import RefreshableCredentials

from pipeline.aws.credentials import EXPLICIT
from pipeline.aws.limits import STS_SESSION_LEAST_SECONDS
from pipeline.aws.session import botocore_session
from pipeline.transport.clients import TIMEOUT_SECONDS

MARGIN_SECONDS = 60
"""Credentials are renewed this long before they expire, or ``sts_token_buffer_time`` if that is longer."""


_CONFIG = Config(
    connect_timeout=TIMEOUT_SECONDS, read_timeout=TIMEOUT_SECONDS, retries={"total_max_attempts": 2}
)
"""The heartbeat or the event loop may renew them: neither may wait for STS as long as botocore would."""


def keep_fresh(client: Any, options: Mapping[str, Any]) -> None:
    """Renew a client's credentials of an assumed role before they expire, in the thread that needs them.

    Args:
        client: boto3's, whose credentials were assumed just now. Safe for any thread after this as before.
        options: the transport options: ``sts_role_arn``; ``sts_token_timeout``, for how many seconds
            credentials are valid; ``sts_token_buffer_time``, how many seconds before their end they are
            renewed, which is ignored, as by Kombu, unless it is less than that.
    """
    role_arn = options.get("sts_role_arn")
    if not role_arn:
        return
    token_seconds = options.get("sts_token_timeout", STS_SESSION_LEAST_SECONDS)
    buffer_seconds = options.get("sts_token_buffer_time") or 0
    margin = max(buffer_seconds if buffer_seconds < token_seconds else 0, MARGIN_SECONDS)
    signer = client._request_signer  # noqa: SLF001 - where botocore keeps credentials; as Kombu does
    now = signer._credentials.get_frozen_credentials()  # noqa: SLF001
    signer._credentials = RefreshableCredentials(  # noqa: SLF001
        now.access_key,
        now.secret_key,
        now.token,
        expiry_time=datetime.now(UTC) + timedelta(seconds=token_seconds),
        refresh_using=lambda: _assumed(role_arn, token_seconds, client.meta.region_name),
        method=EXPLICIT,
        advisory_timeout=margin,
        mandatory_timeout=margin,
    )


def _assumed(role_arn: str, seconds: int, region: str) -> dict[str, str]:
    sts = botocore_session().create_client("sts", region_name=region, config=_CONFIG)
    answer = sts.assume_role(RoleArn=role_arn, RoleSessionName="Celery", DurationSeconds=seconds)
    credentials = answer["Credentials"]
    return {
        "access_key": credentials["AccessKeyId"],
        "secret_key": credentials["SecretAccessKey"],
        "token": credentials["SessionToken"],
        "expiry_time": credentials["Expiration"].isoformat(),
    }
