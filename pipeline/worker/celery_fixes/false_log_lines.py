"""Drops two of Celery's log lines that are false here: "The message has been … discarded".

They also quote the message's body. :class:`~pipeline.worker.consumer.ConsumerMixin` logs what happens.
Source: celery 5.7.0, ``worker/consumer/consumer.py`` (``on_unknown_task``, ``on_invalid_task``).
"""

import logging

from celery.worker.consumer import consumer

from pipeline import undo

FALSE_LINES = frozenset({consumer.UNKNOWN_TASK_ERROR, consumer.INVALID_TASK_ERROR})


def drop_false_log_lines() -> None:
    """Drop those lines in this process. Safe to call twice."""
    undo.add_filter(logging.getLogger(consumer.__name__), _is_true)


def _is_true(record: logging.LogRecord) -> bool:
    return record.msg not in FALSE_LINES
