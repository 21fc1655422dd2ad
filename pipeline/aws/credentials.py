"""Credentials that AWS does not accept: a client loads them again, and retries once.

botocore renews credentials by the clock alone. It does not renew revoked ones, ones from a file that was
rewritten, or expired ones if the local clock is wrong, and it looks for missing ones only once.
Source: botocore 1.44, ``endpoint.py`` (``_send_request``, ``_needs_retry``), ``signers.py`` (``sign``),
``credentials.py``.
"""

from datetime import UTC, datetime
from typing import Any

from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError

from pipeline.aws.error_codes import CREDENTIALS_CODES
from pipeline.aws.session import botocore_session

EXPLICIT = "explicit"
"""botocore's ``method`` of credentials that were passed to a client: no other source replaces them."""


_ACCESS_KEY = "claimcheck_access_key"
"""Where a request's context has the access key that signed it: another thread may renew the client's."""


def renew_when_denied(client: Any) -> None:
    """Let a client load its credentials again when AWS denies them, and retry once; and when it has none.

    The new request is signed again. Threads may share the client.

    Args:
        client: boto3's, of any service.
    """

    def retry(request_dict: dict[str, Any], response: Any = None, attempts: int = 0, **_: Any) -> int | None:
        answer = response[1] if response else {}
        if attempts != 1 or answer.get("Error", {}).get("Code") not in CREDENTIALS_CODES:
            return None
        is_overtaken = request_dict["context"].get(_ACCESS_KEY) != _access_key(client._request_signer)  # noqa: SLF001
        return 0 if is_overtaken or renew(client) else None

    client.meta.events.register_first("needs-retry", retry)
    client.meta.events.register_first("before-sign", _prepare)


def renew(client: Any) -> bool:
    """Load a client's credentials again, and return whether they changed. Never fails.

    Of credentials that were passed to the client, only those that refresh themselves change.
    """
    signer = client._request_signer  # noqa: SLF001 - where botocore keeps credentials
    known = signer._credentials  # noqa: SLF001
    if getattr(known, "method", None) == EXPLICIT:
        return _expire(known)
    found = _load()
    if found is None or _frozen(found) == _frozen(known):
        return False
    signer._credentials = found  # noqa: SLF001
    return True


def frozen(client: Any) -> Any:
    """Return the credentials of a client, renewed if it is time; None if there are none. Never fails."""
    signer = client._request_signer  # noqa: SLF001 - where botocore keeps credentials
    return _frozen(signer._credentials)  # noqa: SLF001


def _expire(credentials: Any) -> bool:
    """Let the next request refresh credentials, if they can be refreshed."""
    if not isinstance(credentials, RefreshableCredentials):
        return False
    credentials._expiry_time = datetime.now(UTC)  # type: ignore[attr-defined]  # noqa: SLF001
    return True


def _load() -> Any:
    """Return the credentials of this process, read from their source now; ``None`` if there are none."""
    try:
        found = botocore_session().get_credentials()
    except BotoCoreError:  # a file that is being written
        return None
    return found if _frozen(found) else None


def _frozen(credentials: Any) -> Any:
    """Return key, secret and token, or ``None`` if there are none or their source denies them."""
    try:
        return credentials and credentials.get_frozen_credentials()
    except (BotoCoreError, ClientError):
        return None


def _access_key(signer: Any) -> str | None:
    """Return the access key that a request is signed with now. Raises what signing would raise."""
    known = signer._credentials  # noqa: SLF001
    return known.get_frozen_credentials().access_key if known else None


def _prepare(request: Any, request_signer: Any, **_: Any) -> None:
    _replace_unusable(request_signer)
    request.context[_ACCESS_KEY] = _access_key(request_signer)


def _replace_unusable(request_signer: Any) -> None:
    """Look again for missing credentials, and for those of a role that STS denies.

    A role's own source may have been rotated since the role was assumed.
    """
    known = request_signer._credentials  # noqa: SLF001 - where botocore keeps credentials
    if getattr(known, "method", None) == EXPLICIT:
        return
    try:
        usable = known and known.get_frozen_credentials()
    except ClientError:
        usable = None
    if not usable:
        request_signer._credentials = _load() or known  # noqa: SLF001
