"""Retries around a store that is unavailable."""

from collections.abc import Callable
from typing import TypeVar

import stamina

from pipeline.errors import StoreUnavailableError
from pipeline.stores.protocol import within

T = TypeVar("T")


def retried(call: Callable[[], T], seconds: float) -> T:
    """Return what a call returns, and repeat it for ``seconds`` while the store is unavailable.

    Raises:
        StoreUnavailableError: it stayed unavailable.
    """
    with within(seconds):
        for attempt in stamina.retry_context(
            on=StoreUnavailableError, attempts=None, timeout=seconds, wait_max=5.0
        ):
            with attempt:
                return call()
    raise AssertionError  # pragma: no cover - retry_context raises the last error
