"""Messages that aim at a worker's main process: it stays small and quick, and good messages run."""

import bz2
import gzip
import hashlib
import itertools
import json
import lzma
import random
import sys
import zlib

import msgspec
import pytest
from envelopes import DEAD_SOON, Queues, binary, headers, text
from sample_fixtures import entered
from workers import eventually

from pipeline.claimcheck import claim as wire_form
from pipeline.claimcheck.claim import Inline, Message
from pipeline.claimcheck.compression import zstd
from pipeline.serializer import serializer

pytestmark = [pytest.mark.aws, pytest.mark.worker]

MEGABYTE = 1_000_000
LINKS = dict.fromkeys(("callbacks", "errbacks", "chain", "chord"))
PAST = "2020-01-01T00:00:00+00:00"
LIMIT_BYTES = 64 * MEGABYTE
PIPED = "a header that cannot be sent to a child"
PIPED_DEPTH = 930 if sys.version_info < (3, 13) else 9_000
"""How deep it nests: JSON reads it, pickle does not write it. Python 3.13 counts calls of C by themselves."""


def packed(size_bytes, content):
    """Return a payload of a few kilobytes that expands to so many bytes."""
    compressor = zstd.ZstdCompressor()
    chunks = [compressor.compress(content * MEGABYTE) for _ in range(size_bytes // MEGABYTE)]
    data = b"".join([*chunks, compressor.flush()])
    return Inline(data=data, codec="msgpack", compression="zstd", expanded_bytes=size_bytes)


BOMB = packed(60 * MEGABYTE, b"\x90")
"""60 MB of empty lists: 4 GB once they are decoded."""


def ours(payload=None, embed=None, shape="task"):
    """Return a change that puts a body of our own form into a message."""
    plain = msgspec.msgpack.encode(LINKS) if embed is None else embed
    sealed = payload or serializer.installed().seal([[1], {}, []])
    return binary(wire_form.write(Message(shape=shape, payload=sealed, embed=plain)))


def colliding(repeat=15):
    """Return a map whose keys, tuples of ints, have one and the same hash."""
    keys = itertools.product(b"\xff\xfe", repeat=repeat)
    entries = b"".join(bytes([0x90 | repeat, *key, 1]) for key in keys)
    return b"\xdf" + (2**repeat).to_bytes(4) + entries


def nested(depth):
    """Return lists in lists."""
    value = []
    for _ in range(depth):
        value = [value]
    return value


def hostile():
    """Return what is sent, by what is wrong with it: a list of changes to a sound message."""
    bare = msgspec.msgpack.encode(
        LINKS | {"errbacks": [{"task": "sample_app.errback", "args": 1, "kwargs": 1, "options": {}}]}
    )
    spaces, lists = b" " * 200 * MEGABYTE, b"\x90" * MEGABYTE
    return {
        "one time limit": [headers(timelimit=5)],
        "three time limits": [headers(timelimit=[1, 2, 3])],
        "time limits of text": [headers(timelimit=["a", "b"])],
        "a time limit that is no number": [headers(timelimit=[None, float("nan")])],
        "a time limit that is no float": [headers(timelimit=[10**400, None])],
        "stamped headers that are a number": [headers(stamped_headers=1)],
        "stamped headers that have no hash": [headers(stamped_headers=[[1]])],
        "stamps that are a list": [headers(stamped_headers=["x"], stamps=[1])],
        "a name that has no hash": [headers(shadow=["x"])],
        "retries that are text": [headers(retries="x")],
        "a count of ours that is text": [headers(**{"claimcheck-republished": "x"})],
        "an ETA that is a list": [headers(eta=[1])],
        "an ETA that is empty": [headers(eta="")],
        "an expiry that is a number": [headers(expires=5)],
        PIPED: [headers(more=nested(PIPED_DEPTH))],
        "an embed that is a number": [text("[[], {}, 5]")],
        "three numbers": [text("[1, 2, 3]")],
        "errbacks that are numbers": [text('[[], {}, {"errbacks": [5]}]')],
        "a value that expands": [ours(BOMB, shape="value")],
        "a claim of a value": [ours(shape="value")],
        "a large embed": [ours(embed=b"\xdc" + (65_000).to_bytes(2) + b"\x90" * 400_000)],
        "an embed that collides": [ours(embed=colliding())],
        "an embed that collides in one of its parts": [
            ours(embed=msgspec.msgpack.encode(LINKS).replace(b"\xa5chord\xc0", b"\xa5chord" + colliding()))
        ],
        "gzip": [binary(zlib.compress(spaces), "application/json"), headers(compression="gzip")],
        "bzip2": [binary(bz2.compress(spaces), "application/json"), headers(compression="bzip2")],
        "LZMA": [binary(lzma.compress(spaces), "application/json"), headers(compression="lzma")],
        "zstd": [binary(zstd.compress(spaces), "application/json"), headers(compression="zstd")],
        "gzip in pieces": [
            binary(bz2.compress(lists) * 50, "application/json"), headers(compression="bzip2")
        ],
        "no zlib": [binary(gzip.compress(spaces), "application/json"), headers(compression="zlib")],
        "a codec of Python's": [binary(zlib.compress(spaces), "application/data", "zlib")],
        "a revoked bomb": [ours(BOMB), headers(expires=PAST)],
        "a revoked bomb with links": [ours(BOMB, embed=bare), headers(expires=PAST)],
    }  # fmt: skip


GROWTH_BYTES = {"prefork": 20 * MEGABYTE, "threads": LIMIT_BYTES, "solo": LIMIT_BYTES}
"""How much the main process may grow: on threads and solo it runs tasks, and each may expand to the limit."""

REVOKED = 2
"""So many of them end as tasks that have expired."""


@pytest.mark.parametrize(
    ("pool", "stand_in"), [("prefork", "ministack"), ("threads", "moto"), ("solo", "moto")]
)
def test_hostile_messages_cost_the_main_process_nothing(
    request, sample_of, monkeypatch, tmp_path, pool, stand_in
):
    """Hostile messages neither block nor enlarge the main process, good messages run, and none is lost."""
    aws = entered(request.getfixturevalue(stand_in), monkeypatch)
    sample = sample_of(
        store=f"s3://{aws.bucket()}/claims",
        options={"payload_limit_bytes": LIMIT_BYTES, "threshold_bytes": 1_048_576},
        conf={"broker_transport_options": DEAD_SOON},
    )
    queues = Queues(sample, aws)
    sound = queues.message(sample, "digest", 1)
    worker = sample.worker(pool=pool, app="measured_app")
    assert [work(sample) for _ in range(3)] == [
        GOOD
    ] * 3  # what messages of this size take, it has taken then
    before = probed(tmp_path)
    sent = hostile()
    if pool != "prefork":
        del sent[PIPED]  # a task like any other
    for number, changes in enumerate(sent.values()):
        queues.send_changed(sound, headers(id=f"hostile-{number}"), *changes)
    assert work(sample) == GOOD
    eventually(lambda: queues.depth("-dlq") == len(sent) - REVOKED, 60)
    eventually(lambda: queues.depth() == 0)
    after = probed(tmp_path)

    assert work(sample) == GOOD
    assert after["pause_seconds"] < 1
    assert after["peak_bytes"] - before["peak_bytes"] < GROWTH_BYTES[pool]
    assert worker.process.poll() is None
    assert ("RecursionError" in worker.text()) is (
        PIPED in sent
    )  # its slot came back: good tasks ran after it


LARGE = random.Random(1).randbytes(750_000)
GOOD = [*([[len(LARGE), hashlib.sha256(LARGE).hexdigest()]] * 4), *range(4)]


def work(sample):
    """Have good tasks run, some as large as a message may be, and return their results."""
    large = [sample.digest_bytes.delay(LARGE) for _ in range(4)]
    return [each.get(timeout=120) for each in [*large, *map(sample.echo.delay, range(4))]]


def probed(path):
    """Return what the worker has measured so far."""
    return json.loads(eventually((path / "probe").read_text))
