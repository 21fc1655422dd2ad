"""Log levels of AWS's libraries: at DEBUG they log session tokens and task arguments."""

import logging
from typing import Any

LOGGERS = ("boto3", "botocore", "s3transfer", "urllib3")


def keep_secrets_out(**_: Any) -> None:
    """Set the loggers to INFO, except those with an explicit level. Safe to call twice.

    Called when a process sets up logging: ``celery worker -l DEBUG`` then logs only Celery and this library.
    """
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)
