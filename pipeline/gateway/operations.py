"""What can be requested of the gateway. Routes and the OpenAPI page are made from this table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True)
class Operation:
    """One request that a client may make, and what is called for it."""

    method: str
    path: str
    """As in Starlette, with parameters in braces."""
    summary: str
    call: Callable[..., Any]
    """Takes the parameters of the path in order, the body and the query parameter. Runs in a thread."""
    body: type[msgspec.Struct] | None = None
    answer: type[msgspec.Struct] | None = None
    status: int = 200
    query: str | None = None
    """Name of its one query parameter."""
    is_public: bool = False
    """Whether it needs no authentication."""
