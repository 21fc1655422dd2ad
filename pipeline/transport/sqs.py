"""Kombu's SQS transport, where "acknowledged" means that SQS has confirmed the delete.

Stock Kombu marks a message as acknowledged even when its receipt handle had expired or SQS answered with
an error, so nobody can tell whether the message will come again; a payload released then is lost.
Source: kombu 5.7.0, ``transport/SQS/__init__.py``, ``Channel.basic_ack``.
"""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from botocore.exceptions import ClientError
from kombu.exceptions import ChannelError, EncodeError
from kombu.transport import SQS, virtual


class NotSettledError(ChannelError):
    """SQS has not confirmed the delete of a message: it may be delivered again, and its payload stays."""


class Channel(SQS.Channel):
    """An SQS channel whose :meth:`basic_ack` raises unless the message is gone."""

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """Delete a message, and forget the delivery either way. Runs in the worker's main process.

        Raises:
            NotSettledError: SQS refused; Celery logs it, and SQS delivers the message again.
        """
        delivery = self._delivery(delivery_tag)
        try:
            if delivery is not None:
                self._delete_delivery(delivery)
        finally:
            # Not super().basic_ack, which is the one replaced here: its parent frees the prefetch slot.
            virtual.Channel.basic_ack(self, delivery_tag)

    def _delivery(self, delivery_tag: str) -> dict[str, Any] | None:
        try:
            info: dict[str, Any] = self.qos.get(delivery_tag).delivery_info
        except KeyError:
            return None
        return info if "sqs_message" in info else None

    def _delete_delivery(self, delivery: dict[str, Any]) -> None:
        queue = delivery.get("routing_key")
        client = self.sqs(queue=self.canonical_queue_name(queue) if queue else None)
        receipt_handle = delivery["sqs_message"]["ReceiptHandle"]
        try:
            client.delete_message(QueueUrl=delivery["sqs_queue"], ReceiptHandle=receipt_handle)
        except ClientError as exc:
            raise NotSettledError(
                f"message not settled [queue={queue}]: SQS answered {_code(exc)} to DeleteMessage; "
                "it will be delivered again, and its payload stays"
            ) from exc


class Transport(SQS.Transport):
    """Kombu's SQS transport with our channel."""

    Channel = Channel
    connection_errors = (*SQS.Transport.connection_errors, NotSettledError)  # type: ignore[assignment]
    """Celery logs these when an acknowledgement fails, and goes on."""


def refused(exc: BaseException) -> bool:
    """Say whether a failed publish is certain not to have reached the queue.

    That is so when nothing was sent, or when the broker answered the first time of asking that it is the
    caller's mistake. After a timeout, a lost connection or a server error the message may be there, and so
    it may when a refusal was the answer to a repetition.
    """
    if isinstance(exc, EncodeError):
        return True
    answer = next((cause for cause in _causes(exc) if isinstance(cause, ClientError)), None)
    if answer is None:
        return False
    metadata = answer.response.get("ResponseMetadata", {})
    status, repeated = metadata.get("HTTPStatusCode", 0), metadata.get("RetryAttempts", 0)
    return not repeated and HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__


def _code(exc: ClientError) -> str:
    return str(exc.response.get("Error", {}).get("Code", "an error"))
