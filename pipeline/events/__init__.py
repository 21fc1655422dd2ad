"""Publishes events to SNS and EventBridge: large values are stored, and claims travel.

``content`` is the wire form, ``sending`` makes few calls of many entries, and ``topic`` and ``event_bus`` are
what applications use. The receiving ends are doors: ``pipeline/doors``.
"""

from pipeline.events.event_bus import Event, EventBus
from pipeline.events.topic import Notification, Topic

__all__ = ["Event", "EventBus", "Notification", "Topic"]
