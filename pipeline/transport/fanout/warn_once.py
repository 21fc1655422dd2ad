"""Warnings about monitoring, once in the life of a process: tasks run without monitoring."""

import logging

from pipeline.telemetry import log_lines
from pipeline.transport.sqs_errors import code

logger = log_lines.logger(__name__)

_logged: set[str] = set()


def warn_once(what: str, exc: BaseException) -> None:
    """Log at WARNING the first time in a process, at DEBUG after that."""
    warning = f"{what}: {code(exc)}"
    level = logging.DEBUG if warning in _logged else logging.WARNING
    _logged.add(warning)
    logger.log(level, "%s; tasks go on without it: docs/operate/monitoring.md says what to allow", warning)
