"""The SQS transport: Kombu's, with acknowledgements that SQS has confirmed and messages that are not lost.

:func:`pipeline.install` chooses it for ``sqs://`` URLs. Each hook of Kombu's channel is overridden in one
place, in the order of a message's life. The hooks delegate to parts that are no channels.

=====================  ====================================================================================
hooks of the channel   parts that do the work
=====================  ====================================================================================
``sending_channel``
connect                ``clients`` makes clients of AWS, ``assumed_role`` renews their credentials
declare                ``addressing`` chooses names and attributes, ``fanout/listening`` makes listeners
publish                ``send/publishing`` adds delay and ids, ``send/batch`` collects, ``fanout/exchanges``
                       publishes to topics, ``fanout/replies`` finds the queues of replies
``channel``
consume                ``inspection`` reads a queue's visibility timeout and redrive policy
receive                ``receive/asking`` decides when, ``receive/receiver`` asks SQS,
                       ``receive/arrivals`` puts messages in flight, ``envelope`` and ``message`` unpack
                       them, ``foreign`` asks the doors
(while a task runs)    ``in_flight`` is the register, ``heartbeat`` extends visibility timeouts
acknowledge            ``settling`` deletes, and reads SQS's confirmation
wait for an ETA        ``hops`` sends a message again, with a delay; ``settling`` then deletes it
reject, return, close  ``redelivery`` makes messages visible again
=====================  ====================================================================================

``transport`` is what Kombu makes for each connection: it owns the parts that channels share, and the threads.
"""

from pipeline.transport.channel import Channel
from pipeline.transport.errors import NotSettledError, certainly_not_sent
from pipeline.transport.message import Message
from pipeline.transport.send.batch_error import BatchSendError
from pipeline.transport.transport import Transport

__all__ = ["BatchSendError", "Channel", "Message", "NotSettledError", "Transport", "certainly_not_sent"]
