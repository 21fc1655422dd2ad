"""Large texts and binaries of a payload, read piece by piece, while the payload's own memory is given back.

msgspec reads a payload that is there as a whole, so a text of 64 MiB would be in memory twice. Texts that
are nearly all of a payload are taken out before: in the rest, an extension stands for each.
"""

import codecs
from collections.abc import Iterator
from io import BytesIO
from typing import NamedTuple

from pipeline.claimcheck.memory import PIECE_BYTES, Bytes, consumed, is_paged

LARGE_TEXT = 4
"""Code of the extension, which is never on the wire."""

LEAST_BYTES = 1024**2
"""A smaller one stays where it is."""

REST_SHARE = 1 / 8
"""Nothing is taken out if the rest is more than this part of the payload: the rest is copied."""

VALUES_COUNT = 1_000
"""So many values at the start of a payload are looked at, each in a microsecond of Python."""

_FIXED = {
    **{code: code & 31 for code in range(0xA0, 0xC0)},
    **dict.fromkeys((0xCC, 0xD0), 1),
    **dict.fromkeys((0xCD, 0xD1, 0xD4, 0xDC, 0xDE), 2),
    0xD5: 3,
    **dict.fromkeys((0xCA, 0xCE, 0xD2, 0xDD, 0xDF), 4),
    0xD6: 5,
    **dict.fromkeys((0xCB, 0xCF, 0xD3), 8),
    0xD7: 9,
    0xD8: 17,
}
"""How many bytes follow the first one: of short texts, numbers, small extensions with their type, and heads
of lists and maps, whose contents are values of their own. Source: MessagePack specification."""
_SIZES = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Of binaries, extensions and texts: how many bytes say how many follow."""
_EXTENSIONS = {0xC7, 0xC8, 0xC9}
_BINARY_32, _TEXT_32 = 0xC6, 0xDB
_LARGE_TEXT_HEAD = bytes([0xD6, LARGE_TEXT])
"""Head of an extension of four bytes."""


class _Place(NamedTuple):
    begin: int
    """Position of the value's first byte."""
    start: int
    """Position of its content."""
    stop: int
    is_text: bool


def taken_out(data: Bytes) -> tuple[Bytes, list[str | bytes]]:
    """Return a payload without its large texts, and those; the payload itself if there is nothing to gain.

    Raises:
        UnicodeDecodeError: a text is not UTF-8.
    """
    places = _places(memoryview(data)) if is_paged(data) else []
    if not places or len(data) - sum(place.stop - place.start for place in places) > len(data) * REST_SHARE:
        return data, []
    rest: list[Bytes] = []
    texts: list[str | bytes] = []
    at = 0
    for number, place in enumerate(places):
        rest += [bytes(data[at : place.begin]), _LARGE_TEXT_HEAD, number.to_bytes(4)]
        texts.append(_text(data, place) if place.is_text else _binary(data, place))
        at = place.stop
    return b"".join([*rest, data[at:]]), texts


def _places(data: memoryview) -> list[_Place]:
    """Return where the large texts and binaries are among the first values."""
    places, begin = [], 0
    for _ in range(VALUES_COUNT):
        if begin >= len(data):
            break
        start, stop = _content(data, begin)
        is_large = LEAST_BYTES <= stop - start <= len(data) - start
        if is_large and data[begin] in {_BINARY_32, _TEXT_32}:
            places.append(_Place(begin, start, stop, data[begin] == _TEXT_32))
        begin = stop
    return places


def _content(data: memoryview, begin: int) -> tuple[int, int]:
    """Return where the content of a value begins and ends; of a list or map, that of its head."""
    code = data[begin]
    start = begin + 1 + _SIZES.get(code, 0)
    if code not in _SIZES:
        return start, start + _FIXED.get(code, 0)
    size_bytes = int.from_bytes(data[begin + 1 : start])
    return start, start + size_bytes + (code in _EXTENSIONS)


class _Piece:
    """A part of a text that is decoded when it is written."""

    def __init__(self, decoder: codecs.IncrementalDecoder, pieces: Iterator[memoryview]) -> None:
        self._decoder = decoder
        self._pieces = pieces

    def __str__(self) -> str:
        piece = next(self._pieces, None)
        return self._decoder.decode(b"" if piece is None else piece, piece is None)


def _text(data: Bytes, place: _Place) -> str:
    """Return a text. ``%`` writes parts into one growing text, where ``join`` needs all parts beforehand.

    Source: CPython 3.11, ``unicodeobject.c`` (``PyUnicode_Format``); pinned in ``test_large_texts.py``.
    """
    pieces = consumed(data, place.start, place.stop)
    part = _Piece(codecs.getincrementaldecoder("utf-8")(), pieces)
    count = len(range(place.start, place.stop, PIECE_BYTES)) + 1
    return "%s" * count % ((part,) * count)


def _binary(data: Bytes, place: _Place) -> bytes:
    buffer = BytesIO(bytes(place.stop - place.start))
    for piece in consumed(data, place.start, place.stop):
        buffer.write(piece)
    return buffer.getvalue()
