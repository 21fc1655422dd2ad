"""Sessions of botocore that read its data files once, and clients that renew rejected credentials.

By default each session has its own loader and parses 1.5 MB of JSON before it makes its first client: 70 ms
of CPU for every connection that Kombu opens. With one loader for all it is 9 ms. Source: botocore 1.44,
``session.py`` (``_register_data_loader``), ``loaders.py``; measured.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

import botocore.session
from botocore.credentials import CachedCredentialFetcher, RefreshableCredentials


def botocore_session() -> Any:
    """Return a new session with botocore's own credentials, region and settings. In any process."""
    made = botocore.session.Session()
    made.register_component("data_loader", _loader())
    return made


@cache
def _loader() -> Any:
    """Return the shared loader, which caches data files. Safe in threads and after a fork: it only adds."""
    return botocore.session.Session().get_component("data_loader")


def renew_when_refused(client: Any, is_expired: Callable[[str], bool]) -> None:
    """Let a client renew its credentials and retry once when AWS rejects them.

    botocore renews credentials by the clock alone. It does not renew revoked ones, ones from a file that was
    rewritten, or expired ones if the local clock is wrong. The new request is signed again.
    Source: botocore 1.44, ``endpoint.py`` (``_send_request``, ``_needs_retry``), ``credentials.py``.

    Args:
        client: boto3's, of any service.
        is_expired: returns whether an error code is about the credentials.
    """

    def ask_again(response: Any = None, attempts: int = 0, **_: Any) -> int | None:
        answer = response[1] if response else {}
        is_first_refusal = attempts == 1 and is_expired(str(answer.get("Error", {}).get("Code", "")))
        return 0 if is_first_refusal and renew(client) else None

    client.meta.events.register_first("needs-retry", ask_again)


def renew(client: Any) -> bool:
    """Reload a client's credentials from their source, and return whether they changed.

    Credentials that were passed to the client explicitly stay as they are.
    """
    credentials: Any = client._request_signer._credentials  # noqa: SLF001 - where botocore keeps them
    if isinstance(credentials, RefreshableCredentials):
        # The next request fetches new ones.
        _forget_fetched(credentials._refresh_using)  # type: ignore[attr-defined]  # noqa: SLF001
        credentials._expiry_time = datetime.now(UTC)  # type: ignore[attr-defined]  # noqa: SLF001
        return True
    if getattr(credentials, "method", "explicit") == "explicit":
        return False
    found = botocore_session().get_credentials()
    if found is None or found.get_frozen_credentials() == credentials.get_frozen_credentials():
        return False
    credentials.access_key, credentials.secret_key, credentials.token = found.get_frozen_credentials()[:3]
    return True


def _forget_fetched(fetch: Callable[[], Any]) -> None:
    """Clear the cached credentials of a role, which botocore reuses until shortly before they expire."""
    fetcher = getattr(fetch, "__self__", None)
    if isinstance(fetcher, CachedCredentialFetcher):
        fetcher._cache.pop(fetcher._cache_key, None)  # type: ignore[attr-defined]  # noqa: SLF001
