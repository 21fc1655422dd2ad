"""Credentials of a role that is assumed (``sts_role_arn``), renewed by whichever thread comes to use them.

Kombu renews them when a channel asks for a client, which a busy worker does not while its task runs; and of
several queues it renews those of the one that asks first. Until then SQS would refuse every heartbeat.
Source: kombu 5.7.0, ``transport/SQS`` (``_handle_sts_session``, ``is_sts_token_refresh_required``).
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.config import Config
from botocore.credentials import RefreshableCredentials

from pipeline.aws.session import botocore_session
from pipeline.transport.clients import TIMEOUT_SECONDS

MARGIN_SECONDS = 60
"""So long before they expire they are renewed, if ``sts_token_buffer_time`` does not say more."""


_CONFIG = Config(
    connect_timeout=TIMEOUT_SECONDS, read_timeout=TIMEOUT_SECONDS, retries={"total_max_attempts": 2}
)
"""Who renews may be the heartbeat, or the event loop: neither waits for STS as long as botocore would."""


def keep_fresh(client: Any, role_arn: str, token_seconds: int, buffer_seconds: int) -> None:
    """Make a boto3 client's credentials, which were assumed just now, renew themselves.

    Args:
        client: safe for any thread after this as before.
        role_arn: the role, to be assumed again by the thread that needs credentials.
        token_seconds: how long they are good.
        buffer_seconds: how long before their end they are renewed; ignored, as by Kombu, unless it is less.
    """
    margin = max(buffer_seconds if buffer_seconds < token_seconds else 0, MARGIN_SECONDS)
    signer = client._request_signer  # noqa: SLF001 - where botocore keeps credentials; Kombu looks there as well
    now = signer._credentials.get_frozen_credentials()  # noqa: SLF001
    signer._credentials = RefreshableCredentials(  # noqa: SLF001
        now.access_key,
        now.secret_key,
        now.token,
        expiry_time=datetime.now(UTC) + timedelta(seconds=token_seconds),
        refresh_using=lambda: _assumed(role_arn, token_seconds, client.meta.region_name),
        method="assume-role",
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
