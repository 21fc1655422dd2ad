"""The loggers of this library: what a line carries in ``extra`` is in its text as well.

A formatter that prints the message alone, as Celery's does, shows the task, its id and the payload's key too.
"""

import logging
from collections.abc import Mapping
from typing import Any

from pipeline.telemetry.sizes import size

SHOWN_CHARACTERS = 200
"""Most of one value: headers of messages are anybody's, and a line should stay one."""


class Lines(logging.LoggerAdapter[logging.Logger]):
    """A logger that ends each line with what is known: ``payload released [task_id=…, claim_key=…]``."""

    def log(self, level: int, msg: object, *args: object, **options: Any) -> None:
        """Log a line. The text before the bracket is constant for one kind of line, but for its arguments."""
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
    """Return a value with its unit in place of the name's last part."""
    if name.endswith("_bytes"):
        return f"{name.removesuffix('_bytes')}={size(value)}"
    if name.endswith("_seconds"):
        return f"{name.removesuffix('_seconds')}={value:.3f} s"
    return f"{name}={_printable(str(value)[:SHOWN_CHARACTERS])}"


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
