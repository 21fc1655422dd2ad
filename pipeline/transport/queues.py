"""The app's queues and their dead-letter queues, with their attributes in SQS.

Names, URLs and clients are those of Kombu's channel, so that region, endpoint, credentials, prefix and
predefined queues are the app's own. Source: kombu 5.7.0, ``transport/SQS/__init__.py``.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from pipeline.aws.limits import SQS_FIFO_SUFFIX
from pipeline.transport import addressing
from pipeline.transport.foreign import OPTION
from pipeline.transport.sqs_errors import ABSENT, code, meaning_of, remedy


class QueueError(Exception):
    """SQS returned an error or did not answer; the message names the queue, the call and what to do.

    Args:
        problem: what happened.
        fix: what to do.
    """

    def __init__(self, problem: str, fix: str = "") -> None:
        super().__init__(f"{problem}; {fix}" if fix else problem)
        self.fix = fix


IN_FLIGHT = "ApproximateNumberOfMessagesNotVisible"
"""Attribute: about how many messages were received and not deleted."""


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue as it was when it was asked for."""

    name: str
    """SQS's own name."""
    url: str
    attributes: Mapping[str, str]
    client: Any = field(repr=False, compare=False)

    def number(self, attribute: str) -> int:
        """Return a number among the attributes, 0 where there is none."""
        return int(self.attributes.get(attribute, 0))

    @property
    def is_fifo(self) -> bool:
        """Whether the queue keeps the order of its messages."""
        return self.name.endswith(SQS_FIFO_SUFFIX)

    @property
    def depth(self) -> int:
        """About how many messages there are, in flight and delayed ones too."""
        kinds = ("", "NotVisible", "Delayed")
        return sum(self.number(f"ApproximateNumberOfMessages{kind}") for kind in kinds)

    @property
    def redrive_policy(self) -> dict[str, Any]:
        """Where messages go that are received too often; empty if nowhere."""
        policy: dict[str, Any] = json.loads(self.attributes.get("RedrivePolicy") or "{}")
        return policy

    @property
    def dead_letter_arn(self) -> str:
        """The ARN of the dead-letter queue, empty if there is none."""
        return str(self.redrive_policy.get("deadLetterTargetArn", ""))


class Queues:
    """The queues of an app, for the length of a ``with`` block or until closed. For one thread.

    It connects when it is first asked, and anew after :meth:`close`. To find a queue takes two calls, and to
    find it again one.

    Args:
        app: a Celery app whose broker is SQS.
        connection: Kombu's, which is closed with this; without one, the app's for publishing.

    Raises:
        ValueError: it is not.
        QueueError: SQS returns an error or does not answer.
    """

    def __init__(self, app: Any, connection: Any = None) -> None:
        self._app = app
        self._connection = connection or app.connection_for_write()
        self._channel: Any = None
        self._urls: dict[str, str] = {}
        self.calls = 0
        """Requests of SQS so far, for looking at queues."""
        driver = self._connection.transport.driver_type
        if driver != "sqs":
            raise ValueError(f"this needs queues of SQS, and the app's broker is {driver}")

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._channel = None
        self._urls.clear()
        self._connection.release()

    @property
    def channel(self) -> Any:
        """Kombu's channel, over a connection that is open."""
        return self._channel or self._open()

    def _open(self) -> Any:
        self.calls += 1
        with asked("the account", "ListQueues"):
            self._connection.connect()  # default_channel would try for ever
            self._channel = self._connection.channel()
        return self._channel

    def names(self) -> list[str]:
        """Return SQS's names of the queues for tasks that the app names, sorted.

        The app names them as its queues, in its routes, on its tasks, and as queues with doors; a queue that
        is chosen when a task is called is not known here. Queues of listeners are left out.
        """
        tasks = {self.channel.canonical_queue_name(name) for name in _task_queues(self._app)}
        given = {name for name in self.channel.predefined_queues if not self._is_listened_on(name)}
        return sorted(tasks | given)

    def _is_listened_on(self, name: str) -> bool:
        """Return whether a predefined queue is for commands, replies, events or broadcasts.

        It stands there under its own name or its exchange's. Source: ``fanout/listening.py``, ``_given``.
        """
        conf, sqs_name = self._app.conf, self.channel.canonical_queue_name
        mailbox = f"{conf.control_exchange}.pidbox"
        known = {sqs_name(each) for each in (mailbox, conf.event_exchange, *_broadcasts(self._app))}
        mailboxes, events = self.channel.entity_name(f".{mailbox}"), sqs_name(f"{conf.event_queue_prefix}.")
        return name in known or name.endswith(mailboxes) or name.startswith(events)

    def found(self) -> list[Queue]:
        """Return the app's queues that exist."""
        return [queue for name in self.names() if (queue := self.find(name))]

    def find(self, name: str) -> Queue | None:
        """Return a queue by SQS's name, or ``None`` if there is none."""
        predefined = self.channel.predefined_queues
        if name in predefined:
            return self._read(name, predefined[name]["url"], self.channel.sqs(queue=name))
        return self._look_up(self.channel.sqs(), name)

    def dead_letters_of(self, queue: Queue) -> Queue | None:
        """Return the dead-letter queue of a queue, or ``None`` if it has none that exists."""
        if not queue.dead_letter_arn:
            return None
        *_, account, name = queue.dead_letter_arn.split(":")
        return self._look_up(queue.client, name, account)

    def create(self, name: str) -> Queue:
        """Make a queue by SQS's name as a worker would, with its dead-letter queue. Safe to call twice.

        Raises:
            QueueError: SQS returns an error, or the dead-letter queue could not be created.
        """
        with asked(name, "CreateQueue"):
            url = self.channel.create_queue(name)
        queue = self._found(name, url, self.channel.sqs(queue=name))
        if self.channel.gets_dead_letter_queue(name) and not queue.redrive_policy:
            raise QueueError(f"queue {name} was made without its dead-letter queue: allow sqs:CreateQueue")
        return queue

    def _look_up(self, client: Any, name: str, account: str = "") -> Queue | None:
        place = f"{account}:{name}"
        if place not in self._urls:
            owner = {"QueueOwnerAWSAccountId": account} if account else {}
            answer = self._ask(client, "GetQueueUrl", name, QueueName=name, **owner)
            if answer is None:
                return None
            self._urls[place] = answer["QueueUrl"]
        return self._read(name, self._urls[place], client)

    def _read(self, name: str, url: str, client: Any) -> Queue | None:
        """Return a queue as it is now; its URL stays the same if it goes and comes."""
        answer = self._ask(client, "GetQueueAttributes", name, QueueUrl=url, AttributeNames=["All"])
        return None if answer is None else Queue(name, url, answer.get("Attributes", {}), client)

    def _ask(self, client: Any, call: str, who: str, **parameters: Any) -> dict[str, Any] | None:
        """Return what SQS answers, ``None`` if there is no such queue."""
        self.calls += 1
        with asked(who, call):
            try:
                answer: dict[str, Any] = getattr(client, xform_name(call))(**parameters)
            except ClientError as exc:
                if meaning_of(exc) is ABSENT:
                    return None
                raise
        return answer

    def _found(self, name: str, url: str, client: Any) -> Queue:
        queue = self._read(name, url, client)
        if queue is None:
            raise QueueError(f"queue {name} was deleted right after it was created; try again in a minute")
        return queue


def _task_queues(app: Any) -> set[str]:
    """Return Kombu's names of the queues that an app names for its tasks."""
    declared = app.amqp.queues
    own = (getattr(task, "queue", None) for task in app.tasks.values())
    doors = app.conf.broker_transport_options.get(OPTION) or ()
    named = (*declared, *_routed(app.amqp.routes), *own, *doors)
    wanted = (_declared(declared, each) for each in named if each)
    return {str(getattr(each, "name", each)) for each in wanted if not _is_broadcast(each)}


def _declared(queues: Any, wanted: Any) -> Any:
    """Return the queue of a name or an alias, and what is not among the app's queues as it is."""
    if not isinstance(wanted, str):
        return wanted
    return queues.aliases.get(wanted) or queues.get(wanted) or wanted


def _routed(routes: Iterable[Any]) -> Iterator[Any]:
    """Yield where ``task_routes`` lead; where a function does, only it knows.

    Source: celery 5.7.0, ``app/routes.py`` (``MapRoute``).
    """
    for route in routes:
        for targets in (getattr(route, "map", None), getattr(route, "patterns", None)):
            for target in targets.values() if isinstance(targets, Mapping) else ():
                yield target.get("queue") if isinstance(target, Mapping) else target


def _broadcasts(app: Any) -> Iterator[str]:
    for queue in filter(_is_broadcast, app.amqp.queues.values()):
        yield from (queue.name, queue.exchange.name)


def _is_broadcast(queue: Any) -> bool:
    """Return whether a queue receives broadcasts for one consumer, and ends with it."""
    if getattr(getattr(queue, "exchange", None), "type", "") != "fanout":
        return False
    return addressing.ends({name: getattr(queue, name) for name in ("auto_delete", "exclusive", "durable")})


@contextmanager
def asked(who: str, call: str) -> Iterator[None]:
    """Turn what SQS answers to a call into one sentence.

    Raises:
        QueueError: the call failed.
    """
    try:
        yield
    except ClientError as exc:
        problem = f"SQS answered {code(exc)} to {call} [queue={who}]"
        raise QueueError(problem, remedy(exc, call)) from exc
    except BotoCoreError as exc:
        problem = f"SQS did not answer {call} [queue={who}]: {exc}"
        raise QueueError(problem, remedy(exc, call)) from exc
