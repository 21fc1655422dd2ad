"""Doors: messages of other systems become task calls, with all that a task has.

``foreign_message`` is what a door gets and returns, ``translation`` what the transport asks, ``split`` the
task behind a message with several calls, ``setup`` what ``install`` does. The other modules are doors.
"""

from pipeline.doors.eventbridge import eventbridge
from pipeline.doors.extended_client import extended_client
from pipeline.doors.extended_sender import extended_client_sender
from pipeline.doors.foreign_message import Door, ForeignMessage, TaskCall
from pipeline.doors.plain_claims import plain_claims
from pipeline.doors.s3_notifications import s3_notifications
from pipeline.doors.sns import sns

__all__ = [
    "Door",
    "ForeignMessage",
    "TaskCall",
    "eventbridge",
    "extended_client",
    "extended_client_sender",
    "plain_claims",
    "s3_notifications",
    "sns",
]
