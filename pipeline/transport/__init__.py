"""The SQS end: Kombu's transport, with an acknowledgement that can be believed.

:func:`pipeline.install` chooses it for ``sqs://`` URLs.
"""

from pipeline.transport.sqs import Channel, Transport, refused

__all__ = ["Channel", "Transport", "refused"]
