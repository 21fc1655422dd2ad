"""Who may use the gateway: Starlette's authentication backends, and two of our own.

An application with its own users passes a backend of its own: a class with ``authenticate``.
Source: Starlette, "Authentication".
"""

import hmac
from collections.abc import Mapping

from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser, SimpleUser
from starlette.requests import HTTPConnection

TOKEN_LEAST_CHARACTERS = 16
"""Shortest token: secrets.token_urlsafe() has 43."""


class BearerTokens(AuthenticationBackend):
    """Accepts requests with one of the given tokens: ``Authorization: Bearer <token>``.

    Args:
        tokens: name of each user, by token. Make tokens with ``secrets.token_urlsafe()``.

    Raises:
        ValueError: there is no token, or one is shorter than 16 characters.
    """

    def __init__(self, tokens: Mapping[str, str]) -> None:
        if not tokens or any(len(token) < TOKEN_LEAST_CHARACTERS for token in tokens):
            raise ValueError(
                "tokens: expected one or more of at least 16 characters; use secrets.token_urlsafe()"
            )
        self._users = {token.encode(): name for token, name in tokens.items()}

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        """Return the user whose token a request carries, or ``None``. Takes as long for any wrong token."""
        scheme, _, given = conn.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        found = [
            name for token, name in self._users.items() if hmac.compare_digest(token, given.strip().encode())
        ]
        return (AuthCredentials(["authenticated"]), SimpleUser(found[0])) if found else None


class Anyone(AuthenticationBackend):
    """Accepts every request: for a demonstration, or behind a proxy that authenticates."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser]:  # noqa: ARG002
        """Return the user ``anyone``."""
        return AuthCredentials(["authenticated"]), SimpleUser("anyone")
