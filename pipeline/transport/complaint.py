"""What is wrong with monitoring is logged once in the life of a process: tasks go on without it."""

import logging

from pipeline import log_lines
from pipeline.transport.sqs_errors import code

logger = log_lines.logger(__name__)

_made: set[str] = set()


def complain(what: str, exc: BaseException) -> None:
    """Log why something does not work; a second time in a process, for debugging only."""
    complaint = f"{what}: {code(exc)}"
    level = logging.DEBUG if complaint in _made else logging.WARNING
    _made.add(complaint)
    logger.log(level, "%s; tasks go on without it: docs/monitoring.md says what to allow", complaint)
