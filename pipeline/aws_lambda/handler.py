"""The handler of a Lambda function whose event source is an SQS queue."""

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from pipeline.aws.limits import SQS_FIFO_SUFFIX
from pipeline.aws_lambda.invocation import Invocation
from pipeline.aws_lambda.records import Arn, Record, field
from pipeline.aws_lambda.worker import Worker

Event = Mapping[str, Any]
Response = dict[str, list[dict[str, str]]]


def sqs_handler(app: Any) -> Callable[[Event, Any], Response]:
    """Return a handler that runs the messages of an SQS event as a worker of the app does.

    Call it where the function's module has imported all tasks: it prepares the worker, in Lambda's
    initialisation. The handler deletes each message that has come to its end, and then releases its payload.
    It returns the others as ``batchItemFailures``: the event source mapping needs
    ``ReportBatchItemFailures``. Calls in several threads run one after another.

    Args:
        app: the Celery app, after ``pipeline.install``.

    Raises:
        ValueError: its broker is not SQS, or a setting could lose messages.
        ClaimError: ``pipeline.install`` was not called.
    """
    worker, running = Worker(app), Lock()

    def handle(event: Event, context: Any = None) -> Response:
        batch = [(record, _group(record)) for record in event.get("Records") or ()]
        with running:
            worker.begin(Invocation.of(context))
            try:
                failed = _run(worker, batch)
            finally:
                worker.finish()
        return {"batchItemFailures": [{"itemIdentifier": str(field(each, "messageId"))} for each in failed]}

    return handle


def _run(worker: Worker, batch: list[tuple[Record, str]]) -> list[Record]:
    """Run records in their order, and return those that SQS is to deliver again.

    Of a message group of a FIFO queue, nothing runs after the first failure.
    """
    failed, unrun, stopped = list[Record](), list[Record](), set[str]()
    for record, group in batch:
        if group in stopped or not worker.invocation.seconds > 0:
            unrun.append(record)
        elif worker.run(record):
            continue
        else:
            failed.append(record)
        stopped |= {group} - {""}
    worker.give_back(unrun)
    return failed + unrun


def _group(record: Record) -> str:
    """Return the message group of a FIFO queue's message; a standard queue has no order to keep."""
    if not Arn.of(record).name.endswith(SQS_FIFO_SUFFIX):
        return ""
    return str((field(record, "attributes") or {}).get("MessageGroupId", ""))
