"""The time chain: conditions between time limits and lifetimes, checked here only.

::

    soft time limit < hard time limit < visibility timeout, or 12 hours if a heartbeat extends it
    payload TTL > one day of retries with the same payload + queue retention + dead-letter queue retention

A FIFO queue's retention counts twice: a message's age restarts in the dead-letter queue, and a message that
is redriven on its last day there waits as long again.
If a task runs longer than its visibility timeout, SQS delivers it to a second worker while the first runs it.
If a payload expires before its message, a redelivery loses the task.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from math import inf
from typing import Any

from pipeline.aws.limits import (
    SQS_FIFO_SUFFIX,
    SQS_RETENTION_DEFAULT_SECONDS,
    SQS_RETENTION_LIMIT_SECONDS,
    SQS_VISIBILITY_LIMIT_SECONDS,
)
from pipeline.options import REUSE_SECONDS, Options

_VISIBILITY_SECONDS = {"sqs": 60, "redis": 3_600}
"""Defaults of our SQS transport, and of Kombu's for Redis. Source: kombu 5.7.0, ``transport/redis.py``."""


def check_app(app: Any, options: Options, transport: str) -> None:
    """Check an app's settings.

    Raises:
        ValueError: two times contradict each other; the message has both settings and the fix.
    """
    conf = app.conf
    _check_limits("the app", conf.task_soft_time_limit, conf.task_time_limit, conf, transport)
    if transport == "sqs":
        _check_ttl(options, conf)


def check_tasks(app: Any) -> None:
    """Check the limits of every registered task.

    Raises:
        ValueError: as :func:`check_app`.
    """
    transport = scheme_of(app)
    for name, task in app.tasks.items():
        soft = _either(task.soft_time_limit, app.conf.task_soft_time_limit)
        hard = _either(task.time_limit, app.conf.task_time_limit)
        _check_limits(f"task {name}", soft, hard, app.conf, transport)


def longest_wait_seconds(app: Any, options: Options, transport: str) -> float:
    """Return the longest time until the ETA of a task with a payload."""
    if transport != "sqs":
        return inf
    return options.payload_ttl_seconds - _needed_seconds(app.conf)


def result_seconds(conf: Any, payload_ttl_seconds: int) -> int:
    """Return how long the payload of a result is needed.

    Celery keeps the results of a chord's header for the longer of two times. Source: celery 5.7.0,
    ``backends/base.py``, ``_chord_result_expires``.

    Args:
        conf: the app's configuration.
        payload_ttl_seconds: returned if results never expire.
    """
    expires = [conf.result_expires, conf.result_chord_expires or conf.result_expires]
    seconds = [each.total_seconds() if isinstance(each, timedelta) else each for each in expires]
    return max(map(int, seconds)) if all(seconds) else payload_ttl_seconds


def named_seconds(waiting_seconds: int, dead_seconds: int, *, is_fifo: bool) -> int:
    """Return how long a message may name a payload, by the retention of queue and dead-letter queue."""
    return waiting_seconds * (2 if is_fifo else 1) + dead_seconds


def scheme_of(app: Any) -> str:
    """Return the transport of an app's broker, as Kombu names it: ``sqs``, ``redis``, ``amqp``."""
    with app.connection_for_write() as connection:
        return str(connection.transport.driver_type)


def _check_limits(who: str, soft: float | None, hard: float | None, conf: Any, transport: str) -> None:
    if soft and hard and soft >= hard:
        raise ValueError(
            f"time chain broken for {who}: soft time limit {soft} s is not below hard time limit {hard} s"
        )
    longest = hard or soft
    if longest and _is_extended(conf, transport):
        _check_extended(who, longest)
        return
    visibility = _visibility(conf, transport)
    if visibility and longest and longest >= visibility:
        raise ValueError(
            f"time chain broken for {who}: time limit {longest} s is not below the visibility timeout "
            f"{visibility} s, so a second worker would get the message while the first runs it; raise "
            "broker_transport_options['visibility_timeout'] or lower the limit"
        )


def _check_extended(who: str, longest: float) -> None:
    if longest >= SQS_VISIBILITY_LIMIT_SECONDS:
        raise ValueError(
            f"time chain broken for {who}: time limit {longest} s is not below the "
            f"{SQS_VISIBILITY_LIMIT_SECONDS} s for which SQS can hide a message, so a second worker would "
            "get it while the first runs it; lower the limit"
        )


def _is_extended(conf: Any, transport: str) -> bool:
    """Return whether a heartbeat extends messages in flight; ``install`` sets our transport for ``sqs``."""
    options = conf.broker_transport_options
    return transport == "sqs" and bool(options.get("visibility_heartbeat", True))


def _check_ttl(options: Options, conf: Any) -> None:
    needed = _needed_seconds(conf)
    if options.payload_ttl_seconds <= needed:
        raise ValueError(
            f"time chain broken: payload_ttl_seconds={options.payload_ttl_seconds} is not above queue "
            f"retention (twice for FIFO queues) plus dead-letter queue retention plus a day for retries "
            f"({needed} s), so a payload could expire before its message; raise it, and the bucket's "
            "lifecycle rule with it"
        )


def _needed_seconds(conf: Any) -> int:
    """Return how long a message may name a payload after its task's ETA."""
    attributes = conf.broker_transport_options.get("sqs-creation-attributes") or {}
    retention = int(attributes.get("MessageRetentionPeriod", SQS_RETENTION_DEFAULT_SECONDS))
    return REUSE_SECONDS + named_seconds(retention, SQS_RETENTION_LIMIT_SECONDS, is_fifo=_has_fifo(conf))


def _has_fifo(conf: Any) -> bool:
    """Return whether the configuration names a FIFO queue. Queues that tasks and callers name are unknown."""
    predefined = conf.broker_transport_options.get("predefined_queues")
    named = (conf.task_default_queue, conf.task_queues, conf.task_routes, predefined)
    return any(name.endswith(SQS_FIFO_SUFFIX) for each in named for name in _texts(each))


def _texts(value: Any) -> Iterator[str]:
    """Yield queue names from a setting: a text, a queue, or a list or map of them."""
    if isinstance(value, Mapping):
        yield from _texts([*value, *value.values()])
    elif isinstance(value, list | tuple | set):
        for each in value:
            yield from _texts(each)
    else:
        yield str(getattr(value, "name", value))


def _visibility(conf: Any, transport: str) -> int | None:
    default = _VISIBILITY_SECONDS.get(transport)
    chosen = conf.broker_transport_options.get("visibility_timeout")
    return default and int(float(chosen if chosen is not None else default))


def _either(first: float | None, second: float | None) -> float | None:
    return first if first is not None else second
