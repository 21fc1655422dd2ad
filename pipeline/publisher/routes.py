"""Where the message of a task goes: its queue, exchange and message group, also of a retry."""

from collections.abc import Iterable, Mapping
from typing import Any

from kombu.common import Broadcast
from kombu.entity import Queue
from kombu.transport.virtual.exchange import STANDARD_EXCHANGE_TYPES

from pipeline.deferred import running
from pipeline.telemetry import delivery_info


def chosen(about: Mapping[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that a message is published with, for the task that ``about`` describes."""
    options = _of_retry(about, options)
    return _with_exchange_declared(_message_group(about) | options)


def names(options: Mapping[str, Any]) -> list[str]:
    """Return the names of exchange, routing key and queue, as far as there are any."""
    found = (options.get(name) for name in ("exchange", "routing_key", "queue"))
    return [_name(each) for each in found if each]


def is_fanout(options: Mapping[str, Any]) -> bool:
    """Say whether every listener gets a copy of the message, as of a broadcast."""
    entities = options.get("exchange"), getattr(options.get("queue"), "exchange", None)
    return "fanout" in {options.get("exchange_type"), *(getattr(each, "type", None) for each in entities)}


def queue_name(queues: Iterable[Queue], options: Mapping[str, Any]) -> str:
    """Return the name that a task's workers count it for: of its queue, or of the exchange of a broadcast.

    The router adds the default queue to an exchange or routing key that a caller names: those lead elsewhere.
    """
    queue, exchange, key = (options.get(name) for name in ("queue", "exchange", "routing_key"))
    if isinstance(queue, Broadcast):
        return str(queue.exchange.name)
    if isinstance(queue, str) or (queue and not exchange and not key):
        return _name(queue)
    if exchange is None and queue:
        exchange = queue.exchange
    name, key = _name(exchange or ""), str(key or getattr(queue, "routing_key", ""))
    declared = [it for it in options.get("declare") or () if isinstance(it, Queue)]
    bound = {it.name for it in declared or queues if it.exchange.name == name and _routes_to(it, key)}
    return ",".join(sorted(bound)) or key or name


def _routes_to(queue: Queue, routing_key: str) -> bool:
    """Say whether a queue's exchange leads a routing key to it, as Kombu decides it for its own exchanges."""
    if queue.exchange.type not in STANDARD_EXCHANGE_TYPES:  # another broker's
        return False
    kind = STANDARD_EXCHANGE_TYPES[queue.exchange.type](None)
    binding = kind.prepare_bind(queue.name, queue.exchange.name, queue.routing_key, None)
    return bool(kind.lookup([binding], queue.exchange.name, routing_key, None))


def _name(entity: object) -> str:
    return str(getattr(entity, "name", entity))


def _of_retry(about: Mapping[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Send a retry to the queue that its attempt came from, unless ``self.retry`` was given another."""
    queue = delivery_info.take_from(options)
    if queue is None or _is_rerouted(about, options):
        return options
    return {**options, "queue": queue, "exchange": None, "routing_key": None, "exchange_type": "direct"}


def _is_rerouted(about: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    """Say whether ``self.retry`` was given another exchange or routing key than those of its attempt."""
    request = _attempt_before(about)
    if request is None:  # its process was lost: nothing was chosen
        return False
    info = request.delivery_info or {}
    return any(options.get(name) != info.get(name) for name in ("exchange", "routing_key"))


def _attempt_before(about: Mapping[str, Any]) -> Any:
    return running.attempt_before(about.get("id", ""), about.get("retries") or 0)


def _with_exchange_declared(options: dict[str, Any]) -> dict[str, Any]:
    """Declare the exchange of a broadcast, which Celery leaves to brokers that know it already."""
    queue = options.get("queue")  # the router has made it of a name
    if isinstance(queue, Broadcast) and options.get("declare") is None:
        return {**options, "declare": [queue.exchange]}
    return options


def _message_group(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the message group of a retry: that of the attempt which sends it. Celery leaves it behind."""
    request = _attempt_before(about)
    properties = request.properties if request is not None else None
    group = (properties or {}).get("MessageGroupId")
    return {"MessageGroupId": group} if group else {}
