"""Arguments that are read where and when their task runs: it gets what they stand for.

A consumer's main process passes them on as they are: what others wrote is not decoded there.
"""

from typing import Any

import msgspec

from pipeline.claimcheck.handles.handle import Handle, arrived
from pipeline.errors import PayloadCorruptError, PayloadMissingError


class StoredText(msgspec.Struct, frozen=True):
    """A text that others have stored."""

    handle: Handle

    def load(self) -> str:
        """Return the text.

        Raises:
            PayloadCorruptError: the object is not UTF-8; and all that ``Handle.load`` raises.
        """
        data: bytes = self.handle.load()
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise PayloadCorruptError(
                f"payload corrupt [key={self.handle.key}]: it is not a text in UTF-8"
            ) from None


class StoredValue(msgspec.Struct, frozen=True):
    """A value that this library has stored for an event."""

    handle: Handle

    def load(self) -> Any:
        """Return the value.

        Raises:
            PipelineError: as ``Handle.load``.
        """
        try:
            return self.handle.load()
        except PayloadMissingError as exc:
            raise PayloadMissingError(
                f"payload of an event missing [key={self.handle.key}]: it has expired, or was deleted; "
                "replay archives within the ttl_days of their events, or raise ttl_days"
            ) from exc


class JSONText(msgspec.Struct, frozen=True):
    """A value in JSON."""

    text: str

    def __repr__(self) -> str:
        """Show nothing of it."""
        return f"<JSON of {len(self.text)} characters>"

    def load(self) -> Any:
        """Return the value.

        Raises:
            PayloadCorruptError: it is not JSON.
        """
        try:
            return msgspec.json.decode(self.text)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
            raise PayloadCorruptError(f"message corrupt: its content is not JSON: {exc}") from None


LateArgument = StoredText | StoredValue | JSONText
"""A positional argument that is read late: ``load`` returns what the task gets, or raises a PipelineError."""


def text_received(content: Any) -> StoredText:
    """Return the stored text in a decoded message. Does no I/O and never raises."""
    return StoredText(arrived(content))


def value_received(content: Any) -> StoredValue:
    """Return the stored value in a decoded message. Does no I/O and never raises."""
    return StoredValue(arrived(content))


def json_received(content: Any) -> JSONText:
    """Return the JSON in a decoded message. Does no I/O and never raises."""
    return JSONText(content if isinstance(content, str) else "")


def loaded(value: Any) -> Any:
    """Return what a late argument stands for, and any other value as it is."""
    return value.load() if isinstance(value, LateArgument) else value
