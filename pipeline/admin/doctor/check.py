"""One check of ``pipeline doctor``: result, and remedy."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """What was checked, and the result."""

    name: str
    ok: bool | None
    """``None``: it could not be checked."""
    detail: str = ""
    fix: str = ""
    """Remedy, as text."""
    command: str = ""
    """Shell command that applies the remedy; empty if there is none."""
