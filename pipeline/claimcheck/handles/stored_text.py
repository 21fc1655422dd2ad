"""A text that others have stored: it travels as a handle, and the task gets the text itself."""

from typing import Any

import msgspec

from pipeline.claimcheck.handles.handle import Handle, arrived
from pipeline.errors import PayloadCorruptError

MARKER = "claimcheck-stored-text"
"""Name of the type in JSON, and in this library's own serializer."""


class StoredText(msgspec.Struct, frozen=True):
    """A positional argument that is read where and when its task runs, as the task's payload is."""

    handle: Handle

    def load(self) -> str:
        """Return the text.

        Raises:
            PayloadCorruptError: the object is not UTF-8; and all that :meth:`Handle.load` raises.
        """
        data: bytes = self.handle.load()
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise PayloadCorruptError(
                f"payload corrupt [key={self.handle.key}]: it is not a text in UTF-8"
            ) from None


def received(content: Any) -> StoredText:
    """Return the stored text in a decoded message. Does no I/O and never raises."""
    return StoredText(arrived(content))


def loaded(value: Any) -> Any:
    """Return the text of a stored one, and any other value as it is."""
    return value.load() if isinstance(value, StoredText) else value
