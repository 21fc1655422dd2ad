"""The SQS end: Kombu's transport, with acknowledgements that can be believed and messages that are kept.

:func:`pipeline.install` chooses it for ``sqs://`` URLs. ``settling`` deletes what is done, ``heartbeat``
keeps what is not, ``addressing`` says where messages go and how long they stay away, ``collecting`` and
``sending`` put messages into few calls, ``sqs`` is what Kombu sees of it.
"""

from pipeline.transport.answers import NotSettledError, refused
from pipeline.transport.message import Message
from pipeline.transport.sending import BatchSendError
from pipeline.transport.sqs import Channel, Transport

__all__ = ["BatchSendError", "Channel", "Message", "NotSettledError", "Transport", "refused"]
