"""What AWS's libraries log: at DEBUG they print session tokens, and bodies with the arguments of tasks."""

import logging
from typing import Any

LOGGERS = ("boto3", "botocore", "s3transfer", "urllib3")


def keep_secrets_out(**_: Any) -> None:
    """Let them log from INFO on, unless somebody has chosen a level for one. Safe to call twice.

    Called where a process of ours sets up its logs: ``celery worker -l DEBUG`` says what Celery and we do.
    """
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)
