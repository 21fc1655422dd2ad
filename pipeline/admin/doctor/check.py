"""One check of ``pipeline doctor``, and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, and how it is."""

    name: str
    ok: bool | None
    """``None``: it could not be found out."""
    detail: str = ""
    fix: str = ""
    """What to do, in words."""
    command: str = ""
    """What does it, to be pasted into a shell whole; empty if there is no such command."""
