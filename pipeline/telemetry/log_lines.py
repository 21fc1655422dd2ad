"""The loggers of this library: the fields in ``extra`` are appended to the text.

So a formatter that prints only the message, as Celery's does, shows task, id and payload key.
"""

import logging
from collections.abc import Mapping
from typing import Any

from pipeline.telemetry.sizes import size

SHOWN_CHARACTERS = 200
"""Maximum length of a value: message headers are untrusted."""


class Lines(logging.LoggerAdapter[logging.Logger]):
    """A logger that appends the fields: ``payload released [task_id=…, claim_key=…]``."""

    def log(self, level: int, msg: object, *args: object, **options: Any) -> None:
        """Log a line. The text before the bracket is constant per event, except for its arguments."""
        if self.isEnabledFor(level):
            options["stacklevel"] = options.get("stacklevel", 1) + 1  # the caller's line, not this one
            text = f"{msg}%s"
            self.logger.log(level, text, *args, _bracket(options.get("extra") or {}), **options)


def logger(name: str) -> Lines:
    """Return the logger of a module."""
    return Lines(logging.getLogger(name))


def _bracket(extra: Mapping[str, Any]) -> str:
    shown = ", ".join(_shown(name, value) for name, value in extra.items() if value is not None)
    return f" [{shown}]" if shown else ""


def _shown(name: str, value: Any) -> str:
    """Format a value with its unit in place of the name's last part."""
    if name.endswith("_bytes"):
        return f"{name.removesuffix('_bytes')}={size(value)}"
    if name.endswith("_seconds"):
        return f"{name.removesuffix('_seconds')}={value:.3f} s"
    return f"{name}={_printable(str(value)[:SHOWN_CHARACTERS])}"


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
