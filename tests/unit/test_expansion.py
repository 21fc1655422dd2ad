"""What Kombu compressed is expanded as Kombu does, and no further than a message may be large."""

import bz2
import lzma
import zlib

import pytest
from kombu.compression import compress
from kombu.message import Message as KombuMessage

from pipeline.transport.expansion import LIMIT_BYTES, ExpansionError, expand
from pipeline.transport.message import Message

NAMES = ["gzip", "zlib", "bzip2", "bzip", "lzma", "xz", "zstd", "application/x-gzip"]


@pytest.mark.parametrize("name", NAMES)
def test_what_kombu_compressed_comes_back(name):
    """Up to the limit every compression of Kombu's is undone."""
    body = b"all work and no play " * (LIMIT_BYTES // 21)

    assert expand(compress(body, name)[0], name) == body


@pytest.mark.parametrize("name", NAMES)
def test_more_than_the_limit_is_not_expanded(name):
    """One byte more is an error that says how much a body may hold."""
    with pytest.raises(ExpansionError, match="more than 1048576 bytes"):
        expand(compress(bytes(LIMIT_BYTES + 1), name)[0], name)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", "gzip"), (b"x", "gzip"), (b"x", "bzip2"), (b"x", "lzma"), (b"x", "zstd"),
        (zlib.compress(b"x")[:-1], "gzip"), (zlib.compress(b"x") + b"y", "gzip"),
        (bz2.compress(b"x") * 2, "bzip2"), (lzma.compress(b"x", preset=9), "lzma"),
        (b"x", "rot13"), (b"x", ["gzip"]), (b"x", 5),
    ],
)  # fmt: skip
def test_what_is_broken_or_unknown_is_an_error(data, name):
    """So is more than one stream, which would go round the limit, and a dictionary of 64 MiB."""
    with pytest.raises(ExpansionError):
        expand(data, name)


def envelope(body, **headers):
    return {"body": body, "headers": headers, "properties": {"delivery_tag": "1", "delivery_info": {}}}


class Plain:
    """A channel that takes bodies as they are."""

    def decode_body(self, body, encoding=None):
        return body


def test_a_message_keeps_its_header():
    """The request of a task, which a retry copies, has the compression that it was sent with."""
    message = Message(envelope(zlib.compress(b"[]"), compression="gzip", task="t"), Plain())

    assert (message.body, message.headers, message.errors) == (
        b"[]",
        {"compression": "gzip", "task": "t"},
        [],
    )


def test_a_bomb_is_a_fault():
    """Kombu reports the error as its own; the error has no text of the body."""
    message = Message(envelope(zlib.compress(bytes(2 * LIMIT_BYTES)), compression="gzip"), Plain())

    assert (message.body, "more than" in message.fault, len(message.errors)) == (b"", True, 1)
    with pytest.raises(ExpansionError):
        message._reraise_error()


def test_no_codec_of_python_s_expands_a_body():
    """Types that Kombu has no serializer for are texts, and a codec that is none is an error."""
    assert (
        KombuMessage(
            zlib.compress(b"x" * 9), content_type="application/data", content_encoding="zlib"
        ).payload
        == b"x" * 9
    )
    options = {"content-type": "application/data", "content-encoding": "zlib"}
    message = Message({**envelope(zlib.compress(b"x" * 9)), **options}, Plain())
    with pytest.raises(LookupError):
        message.decode()
    assert Message({**envelope(b"x"), **options, "content-encoding": "utf-8"}, Plain()).payload == "x"
    assert Message({**envelope(b"x"), **options, "content-encoding": "binary"}, Plain()).payload == b"x"
