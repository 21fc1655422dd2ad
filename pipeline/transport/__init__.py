"""The SQS end: Kombu's transport, with acknowledgements that can be believed and messages that are kept.

``channel`` is what Kombu sees; :func:`pipeline.install` chooses it for ``sqs://`` URLs. ``receive/`` gets
messages, ``in_flight`` knows them while they are here, ``heartbeat`` extends their visibility timeout,
``settling`` deletes those that are acknowledged, ``redelivery`` returns the others. ``send/`` publishes,
``addressing`` says where messages go. ``fanout/`` is for monitoring and remote control, over SNS.
"""

from pipeline.transport.answers import NotSettledError, refused
from pipeline.transport.channel import Channel, Transport
from pipeline.transport.message import Message
from pipeline.transport.send.batch import BatchSendError

__all__ = ["BatchSendError", "Channel", "Message", "NotSettledError", "Transport", "refused"]
