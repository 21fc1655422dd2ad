"""Names and attributes of queues, deduplication ids, and dead-letter queues."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from blake3 import blake3
from botocore.exceptions import ClientError

from pipeline.aws.limits import SQS_FIFO_SUFFIX, SQS_NAME_LIMIT_CHARACTERS, SQS_RETENTION_LIMIT_SECONDS
from pipeline.telemetry import log_lines
from pipeline.transport.sqs_errors import PRESENT, code, meaning_of

logger = log_lines.logger(__name__)

DEAD_LETTERS = "-dlq"
LISTENER = "claimcheck-listener-"
MAX_RECEIVE_COUNT = 5

_SHARED = ("Fifo", "Deduplication", "Kms", "SqsManaged")
"""How the names of attributes begin that a dead-letter queue has from its queue: ``FifoThroughputLimit``
needs ``DeduplicationScope``. Source: SQS API Reference, CreateQueue."""

_TEMPORARY = re.compile(
    rf"(celery-pidbox|{DEAD_LETTERS}({re.escape(SQS_FIFO_SUFFIX)})?)$"
    r"|^(.*-)?(claimcheck-listener|celeryev|bcast|amq-gen)[-.]"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
)
"""Names of queues that live as long as one process, as Celery and Kombu make them, and of our own DLQs:
remote control and its replies, event listeners, broadcasts, results over RPC."""

_LABELS = ("MessageGroupId", "MessageDeduplicationId")
_LABEL = re.compile(r"[!-~]{1,128}\Z")
"""Letters, digits and punctuation of ASCII. Source: SQS API Reference, SendMessage."""

_IDENTITY = ("id", "task", "retries", "eta", "replaced_task_nesting", "claimcheck-republished")


def check_labels(options: Mapping[str, Any]) -> None:
    """Check the message group id and the deduplication id of a publisher, before anything is stored or sent.

    Raises:
        ValueError: SQS would reject it.
    """
    for name in _LABELS:
        label = options.get(name, "-")
        if not isinstance(label, str) or not _LABEL.match(label):
            raise ValueError(
                f"{name}={label!r}: expected 1 to 128 letters, digits or punctuation marks of ASCII; leave "
                "it out where there is none"
            )


def deduplication_id(message: Mapping[str, Any]) -> str | None:
    """Return the deduplication id: the same for each repetition of one sending of one task.

    ``None`` for what is no task: equal messages may both be meant, and only a task has an id.

    Not the body and the id alone: a retry has both of the first attempt, and so may the task that replaces
    it, or the same task if it replaces itself. SQS silently drops a message
    whose id it has seen within 5 minutes: the task would be lost.
    """
    headers = message.get("headers") or {}
    if not headers.get("id"):
        return None
    identity = [headers.get(name) for name in _IDENTITY]
    content = json.dumps([message.get("body"), *identity], default=str)
    return str(blake3(content.encode()).hexdigest())


def is_temporary(name: str, declaration: Mapping[str, Any]) -> bool:
    """Return whether a queue needs no dead-letter queue: it ends with a process, or is one itself."""
    return ends(declaration) or bool(_TEMPORARY.search(name))


def ends(declaration: Mapping[str, Any]) -> bool:
    """Return whether a queue is declared to end with its consumer."""
    ending = declaration.get("auto_delete") or declaration.get("exclusive")
    return bool(ending or not declaration.get("durable", True))


@dataclass(frozen=True)
class Names:
    """Names of queues and topics in AWS, from Kombu's."""

    prefix: str
    """``queue_name_prefix`` of the transport options."""
    allowed: Callable[[str], str]
    """Replaces the characters that SQS does not allow."""

    def of(self, name: str) -> str:
        """Return the name of a queue or of an exchange's topic."""
        return self.allowed(self.prefix + name)

    def of_listener(self, queue: str, *, is_new: bool = False) -> str:
        """Return the name of a listener's queue; see :func:`listener_name`."""
        return listener_name(self.prefix, self.allowed(queue), is_new=is_new)


def listener_name(prefix: str, name: str, *, is_new: bool = False) -> str:
    """Return SQS's name of a listener's queue: its prefix is what permissions and the sweep know it by.

    Args:
        prefix: ``queue_name_prefix`` of the transport options.
        name: what the listener is called, in characters that SQS allows.
        is_new: whether the name must never have been used: SQS fails for 60 seconds to create a queue
            whose name was just deleted. Source: SQS API Reference, CreateQueue.
    """
    whole = f"{prefix}{LISTENER}{name}"
    if is_new:
        return f"{whole[: SQS_NAME_LIMIT_CHARACTERS - 9]}-{uuid4().hex[:8]}"
    return _shortened(whole, SQS_NAME_LIMIT_CHARACTERS)


def dead_letter_name(name: str) -> str:
    """Return the name of a queue's dead-letter queue; that of a FIFO queue must be FIFO too."""
    suffix = DEAD_LETTERS + (SQS_FIFO_SUFFIX if name.endswith(SQS_FIFO_SUFFIX) else "")
    return _shortened(name.removesuffix(SQS_FIFO_SUFFIX), SQS_NAME_LIMIT_CHARACTERS - len(suffix)) + suffix


def _shortened(name: str, length: int) -> str:
    """Return a name that is no longer than that, and another for each other one."""
    return name if len(name) <= length else f"{name[: length - 9]}-{blake3(name.encode()).hexdigest()[:8]}"


def new_attributes(name: str, visibility_seconds: int) -> dict[str, str]:
    """Return the attributes with which Kombu creates a queue."""
    attributes = {"VisibilityTimeout": str(visibility_seconds)}
    return {**attributes, "FifoQueue": "true"} if name.endswith(SQS_FIFO_SUFFIX) else attributes


def creation_attributes(
    client: Any,
    name: str,
    attributes: Mapping[str, str],
    options: Mapping[str, Any],
    *,
    with_dead_letters: bool,
) -> dict[str, str]:
    """Return the attributes of a queue to be created: encrypted, and with a redrive policy.

    The transport option ``sqs-creation-attributes`` overrides them.
    """
    chosen = {**attributes, **(options.get("sqs-creation-attributes") or {})}
    if "KmsMasterKeyId" not in chosen:
        chosen.setdefault("SqsManagedSseEnabled", "true")
    if with_dead_letters and "RedrivePolicy" not in chosen:
        target = dead_letter_queue(client, name, chosen, options.get("queue_tags") or {})
        limit = int(options.get("max_receive_count", MAX_RECEIVE_COUNT))
        if target is not None:
            policy = {"deadLetterTargetArn": target, "maxReceiveCount": limit}
            chosen["RedrivePolicy"] = json.dumps(policy)
    return chosen


def dead_letter_queue(
    client: Any, name: str, attributes: Mapping[str, str], tags: Mapping[str, str]
) -> str | None:
    """Make the dead-letter queue of a new queue, or find it, and return its ARN.

    ``None`` if that is denied or impossible: then the queue does without, and that is warned about. One that
    exists already is left as it is. Safe to call twice, and by two processes at once.

    Raises:
        ClientError, BotoCoreError: it may be possible later. So the queue is not made now: one that exists
            gets no dead-letter queue any more.
    """
    dead = dead_letter_name(name)
    try:
        url = _created(client, dead, attributes, tags)
        answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    except ClientError as exc:
        if meaning_of(exc).is_transient:
            raise
        logger.warning("dead-letter queue not made", extra={"queue": dead, "code": code(exc)})
        return None
    return str(answer["Attributes"]["QueueArn"]) if answer else None


def _created(client: Any, name: str, attributes: Mapping[str, str], tags: Mapping[str, str]) -> str:
    wanted = {key: value for key, value in attributes.items() if key.startswith(_SHARED)}
    wanted["MessageRetentionPeriod"] = str(SQS_RETENTION_LIMIT_SECONDS)
    options = {"tags": dict(tags)} if tags else {}
    try:
        url = client.create_queue(QueueName=name, Attributes=wanted, **options)["QueueUrl"]
    except ClientError as exc:
        if meaning_of(exc) is not PRESENT:
            raise
        url = client.get_queue_url(QueueName=name)["QueueUrl"]
    return str(url)
