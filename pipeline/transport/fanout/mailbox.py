"""Remote control: commands go to all workers, and replies to the queue of the process that asked.

A command is published to a fanout exchange, so every worker's mailbox gets it. Its reply goes to an exchange
whose bindings are known to the asker's process alone; here the queue's name is made from the routing key.
Commands and replies are JSON and are never offloaded. Celery would encode them with the serializer of tasks.
Source: kombu 5.7.0, ``pidbox.py``; celery 5.7.0, ``app/control.py`` (``Control.__init__``).
"""

import re
from collections.abc import Sequence
from typing import Any, Self

from kombu import pidbox
from kombu.messaging import Producer

from pipeline.claimcheck.headers import id_text

SERIALIZER = "json"

_IDS = ("task_id", "ids")
"""Arguments of commands that name tasks. Source: celery 5.7.0, ``worker/control.py``."""

_REPLY_EXCHANGE = re.compile(r"reply\..+\.pidbox\Z")
_REPLY_QUEUE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.reply\..+\.pidbox\Z")


def is_reply_exchange(exchange: str) -> bool:
    """Return whether replies are published to an exchange."""
    return bool(_REPLY_EXCHANGE.match(exchange))


def is_reply_queue(queue: str) -> bool:
    """Return whether a queue, by Kombu's name, receives replies."""
    return bool(_REPLY_QUEUE.match(queue))


def is_mailbox(queue: str) -> bool:
    """Return whether a queue, by Kombu's name, is a worker's mailbox for commands."""
    return queue.endswith(".pidbox") and not is_reply_queue(queue)


def reply_queues(exchange: str, routing_key: str) -> set[str]:
    """Return Kombu's name of the queue that a reply goes to; none if the routing key is not a UUID."""
    queue = f"{routing_key}.{exchange}"
    return {queue} if is_reply_queue(queue) else set()


def reply_exchange(queue: str) -> str:
    """Return the exchange that the replies of a queue come through."""
    return queue.partition(".")[2]


class Mailbox(pidbox.Mailbox):
    """Kombu's mailbox, whose messages are JSON, with one reply queue for each connection.

    Kombu names that queue after the mailbox's place in memory, which is reused; SQS fails for 60
    seconds to create a queue whose name was just deleted. Source: SQS API Reference, CreateQueue.
    """

    _reply_id: str | None = None

    def __init__(
        self, *args: Any, accept: Sequence[str] | None = None, serializer: str | None = None, **options: Any
    ) -> None:
        del serializer  # the app's for tasks
        accepted = [*(accept or ()), SERIALIZER]
        super().__init__(*args, **{**options, "accept": accepted, "serializer": SERIALIZER})

    def __call__(self, connection: Any) -> Self:
        """Return this mailbox for one connection."""
        bound: Self = super().__call__(connection)
        bound._reply_id = getattr(connection.transport, "reply_id", None)
        return bound

    def _broadcast(
        self, command: str, arguments: dict[str, Any] | None = None, *args: Any, **options: Any
    ) -> Any:
        """Send a command, with task ids as text, as in the messages of tasks."""
        named = {name: _texts(arguments[name]) for name in _IDS if arguments and arguments.get(name)}
        return super()._broadcast(command, {**(arguments or {}), **named}, *args, **options)

    def _publish(self, *args: Any, **options: Any) -> None:
        """Send a command on the channel that takes the replies: another connection lists all queues again."""
        if options.get("channel") and not options.get("producer"):
            options["producer"] = Producer(options["channel"], auto_declare=False)
        super()._publish(*args, **options)

    @property
    def oid(self) -> str:
        """What the reply queue is named after."""
        return self._reply_id or str(super().oid)


def _texts(ids: object) -> object:
    return [id_text(each) for each in ids] if isinstance(ids, list | tuple | set) else id_text(ids)
