"""Batches: tasks of a ``with pipeline.batch()`` block, or of a group, are sent in few calls."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.packs.uploads import Uploads
from pipeline.publisher.unsent import give_up
from pipeline.serializer import serializer
from pipeline.transport.send.batch import Batch
from pipeline.transport.send.collecting import Producer

_block: ContextVar[Batch | None] = ContextVar("block", default=None)


@contextmanager
def batch() -> Iterator[None]:
    """Send the tasks that are published in a ``with`` block together, ten a call, in this thread.

    All are sent when the block ends, however it does. Blocks in blocks join the outermost. On brokers other
    than our SQS transport each task is sent at once, as ever.

    Raises:
        BatchSendError: messages were not sent; out of the block's end, or out of the ``delay()`` that
            filled a call of which nothing was sent.
    """
    if _open_block() is not None:
        yield
        return
    opened = _new_batch(serializer.installed())  # a block knows no app
    token = _block.set(opened)
    try:
        yield
    except BaseException as exc:
        opened.close(exc)
        raise
    else:
        opened.close()
    finally:
        _block.reset(token)


def _open_block() -> Batch | None:
    block = _block.get()
    return block if block is not None and block.takes else None


def _new_batch(claimcheck: ClaimCheck) -> Batch:
    return Batch(claimcheck.options.broker_limit_bytes, partial(give_up, claimcheck), Uploads(claimcheck))


def batch_of(claimcheck: ClaimCheck, producer: Any, about: Mapping[str, Any]) -> Batch | None:
    """Return what a message is collected in, or ``None`` if it is sent at once; ``about`` describes its task.

    A retry always is: it ends the attempt that sends it. So is a task outside of a group, whatever
    producer it is given.
    """
    if about.get("retries"):
        return None
    if (block := _open_block()) is not None:
        return block
    if isinstance(producer, Producer) and about.get("group"):
        return producer.collected(partial(_new_batch, claimcheck))
    return None
