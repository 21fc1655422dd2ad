"""Expands what Kombu has compressed, within a limit: a kilobyte can stand for a gigabyte.

Kombu expands a body as soon as it has received the message, in the worker's event loop, and asks for no
limit. The limit here is what SQS would carry uncompressed. Larger bodies belong in the store.
Source: kombu 5.7.0, ``message.py`` (``Message.__init__``), ``compression.py``.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from kombu.compression import get_encoder

from pipeline.aws.limits import SQS_MESSAGE_LIMIT_BYTES
from pipeline.claimcheck.compression import foreign_stream

LIMIT_BYTES = SQS_MESSAGE_LIMIT_BYTES
"""Most that a body may hold once it is expanded."""

MEMORY_BYTES = 16_777_216
"""Most that an expander may take for itself: in LZMA the sender says how much."""

_EXPANDERS: Mapping[str, Callable[[], Any]] = {
    "application/x-gzip": zlib.decompressobj,
    "application/x-bz2": bz2.BZ2Decompressor,
    "application/x-lzma": lambda: lzma.LZMADecompressor(memlimit=MEMORY_BYTES),
    "application/zstd": foreign_stream,
}
"""Kombu's compressions that can be expanded step by step."""


class ExpansionError(ValueError):
    """A body cannot be expanded within the limit; says why."""


def expand(body: bytes, compression: object) -> bytes:
    """Return a body as it was before Kombu compressed it; runs in the event loop.

    Raises:
        ExpansionError: the compression is unknown or has no limit, the data are broken, or they expand to
            more than ``LIMIT_BYTES``.
    """
    try:
        stream = _EXPANDERS[get_encoder(compression)[1]]()
    except (KeyError, TypeError):
        raise ExpansionError("its compression is not one that can be expanded within a limit") from None
    try:
        expanded: bytes = stream.decompress(body, LIMIT_BYTES + 1)
    except Exception as exc:  # noqa: BLE001 - each compression has errors of its own
        raise ExpansionError(f"its compression is broken: {type(exc).__name__}") from None
    if len(expanded) > LIMIT_BYTES:
        raise ExpansionError(f"it expands to more than {LIMIT_BYTES} bytes")
    if not stream.eof or stream.unused_data:
        raise ExpansionError("its compression is broken: it is not one whole stream")
    return expanded
