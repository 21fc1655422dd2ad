"""The claim check of this process: one, as Kombu's registry of serializers is one for the whole process.

It is handed in where that can be done. It is looked up where Kombu or Celery makes the caller by itself: an
encoder and a decoder; the parts of an app and a worker's steps, which are made by class, in spawned pool
children too; ``@idempotent`` and ``pipeline.batch()``, which know no app; a handle that has just arrived in a
task or that a door makes; a command that was given an app's name.
"""

from typing import TYPE_CHECKING

from pipeline.errors import ClaimError

if TYPE_CHECKING:
    from pipeline.claimcheck.claim_check import ClaimCheck

_installed: "ClaimCheck | None" = None


def install(claimcheck: "ClaimCheck | None") -> None:
    """Make ``claimcheck`` the one of this process; ``None`` undoes it."""
    global _installed  # noqa: PLW0603 - Kombu registers functions for the whole process
    _installed = claimcheck


def found() -> "ClaimCheck | None":
    """Return the claim check of this process, or ``None`` if there is none."""
    return _installed


def is_installed() -> bool:
    """Say whether ``install`` was called in this process."""
    return _installed is not None


def installed() -> "ClaimCheck":
    """Return the claim check of this process.

    Raises:
        ClaimError: ``pipeline.install`` was not called here.
    """
    if _installed is None:
        raise ClaimError(
            "claimcheck is not configured in this process: call pipeline.install(app, store=…) where the "
            "Celery app is made"
        )
    return _installed
