"""The app's remote control: its commands are JSON, and what it revokes stays revoked."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.claimcheck import revocations
from pipeline.claimcheck.headers import id_text
from pipeline.serializer import serializer
from pipeline.transport.fanout.mailbox import Mailbox

if TYPE_CHECKING:
    from celery.app.control import Control
else:
    Control = object  # what stands in front of a class is not one of its kind


class ControlMixin(Control):
    """Extends a Celery ``Control`` class. Runs in any process that commands workers."""

    Mailbox = Mailbox

    def broadcast(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        destination: Any = None,
        *rest: Any,
        **options: Any,
    ) -> Any:
        """Send a command to workers. A task that is revoked everywhere is so for later workers, too.

        ``Control.revoke``, ``terminate``, ``AsyncResult.revoke`` and ``celery control revoke`` come here.
        """
        answer = super().broadcast(command, arguments, destination, *rest, **options)
        named = (arguments or {}).get("task_id")
        claimcheck = serializer.found()
        if command == "revoke" and named and not destination and claimcheck is not None:
            task_ids = named if isinstance(named, list | tuple | set) else [named]
            revocations.revoke(claimcheck, map(id_text, task_ids))
        return answer
