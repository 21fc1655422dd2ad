"""Arguments that are read where and when their task runs: it gets what they stand for.

A consumer's main process passes them on as they are: what others wrote is not decoded there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from pipeline.claimcheck import claim_token
from pipeline.claimcheck.handles.handle import Handle, arrived
from pipeline.claimcheck.installed import installed
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
        with explained("ttl_days", f" [key={self.handle.key}]"):
            return self.handle.load()


class StoredEvent(msgspec.Struct, frozen=True):
    """The payload of an event that an enrichment of a pipe has stored."""

    token: str
    """Of its claim; see ``claimcheck/claim_token.py``."""

    def __repr__(self) -> str:
        """Show nothing of it."""
        return f"<claim of {len(self.token)} characters>"

    def load(self) -> Any:
        """Return the payload.

        Raises:
            PipelineError: as ``ClaimCheck.rehydrate``.
        """
        with explained("payload_ttl_seconds"):
            return claim_token.rehydrated(installed(), self.token)


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


@contextmanager
def explained(ttl: str, about: str = "") -> Iterator[None]:
    """Say of a missing payload that it was an event's, and which setting is its lifetime."""
    try:
        yield
    except PayloadMissingError as exc:
        raise PayloadMissingError(
            f"payload of an event missing{about}: it has expired, or was deleted; replay archives within the "
            f"{ttl} of their events, or raise {ttl}"
        ) from exc


LateArgument = StoredText | StoredValue | StoredEvent | JSONText
"""A positional argument that is read late: ``load`` returns what the task gets, or raises a PipelineError."""


def text_received(content: Any) -> StoredText:
    """Return the stored text in a decoded message. Does no I/O and never raises."""
    return StoredText(arrived(content))


def value_received(content: Any) -> StoredValue:
    """Return the stored value in a decoded message. Does no I/O and never raises."""
    return StoredValue(arrived(content))


def event_received(content: Any) -> StoredEvent:
    """Return the stored event in a decoded message. Does no I/O and never raises."""
    return StoredEvent(content if isinstance(content, str) else "")


def json_received(content: Any) -> JSONText:
    """Return the JSON in a decoded message. Does no I/O and never raises."""
    return JSONText(content if isinstance(content, str) else "")


def loaded(value: Any) -> Any:
    """Return what a late argument stands for, and any other value as it is."""
    return value.load() if isinstance(value, LateArgument) else value
