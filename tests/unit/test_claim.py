"""The claim's wire form and the key grammar."""

import re
from datetime import UTC, datetime

import msgspec
import pytest

from pipeline.claimcheck import claim, revocations
from pipeline.claimcheck.claim import Claim, Inline, Message
from pipeline.claimcheck.keys import check_key, new_key, new_result_key
from pipeline.claimcheck.signed_record import record_key
from pipeline.errors import ClaimError
from pipeline.stores import RESERVED

KEY = b"k" * 32
GOOD = {
    "type": "claim",
    "store": "default",
    "key": "claims/v1/0a/2026/11/21/" + "0a" * 20,
    "size_bytes": 10,
    "digest": "blake3:" + "0" * 64,
    "codec": "msgpack",
    "compression": "none",
    "expanded_bytes": 10,
    "created": datetime(2026, 11, 21, tzinfo=UTC),
}

PINNED = (
    "9301c5012a84a57368617065a47461736ba77061796c6f616489a474797065a5636c61696da573746f7265a764656661756c"
    "74a36b6579d940636c61696d732f76312f30612f323032362f31312f32312f30613061306130613061306130613061306130"
    "613061306130613061306130613061306130613061aa73697a655f62797465730aa6646967657374d947626c616b65333a30"
    "3030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030"
    "30303030303030303030303030a5636f646563a76d73677061636bab636f6d7072657373696f6ea46e6f6e65ae657870616e"
    "6465645f62797465730aa763726561746564d6ff6b00df00a5656d626564c40180ab656d6265645f636f646563a76d736770"
    "61636bc4207e22ed9bd8cd1f888d06e4c96d354507415002312e08f7ca7e429f858de8a9a9"
)


def body(version=1, **fields):
    payload = {**GOOD, **fields}
    content = msgspec.msgpack.encode({"shape": "task", "payload": payload, "embed": b""})
    return msgspec.msgpack.encode([version, content, b""])


def test_a_claim_survives_the_wire():
    """What is written is read back equal, signed or not."""
    message = Message(shape="task", payload=msgspec.convert(GOOD, Claim), embed=b"e")

    assert claim.read(claim.write(message)) == message
    assert claim.read(claim.write(message, KEY), KEY) == message


def test_an_inline_payload_survives_the_wire():
    """Any bytes travel inline as they are, without inflation."""
    data = bytes(range(256)) * 40
    message = Message(
        shape="value",
        payload=Inline(data=data, codec="msgpack", compression="none", expanded_bytes=len(data)),
    )

    encoded = claim.write(message)

    assert claim.read(encoded) == message
    assert len(encoded) < len(data) + 200


def test_the_wire_form_is_pinned():
    """A claim written by the first release of version 1 is read for as long as version 1 is."""
    written = bytes.fromhex(PINNED)

    assert claim.read(written, KEY).payload == msgspec.convert(GOOD, Claim)


def test_unknown_fields_are_ignored():
    """A later release may add fields to a version."""
    assert claim.read(body(invented_later=1)).payload.key == GOOD["key"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"size_bytes": -1}, ">= 0"),
        ({"size_bytes": 2**64 - 1}, "claim rejected"),
        ({"size_bytes": 6 * 1024**4}, "<= 5497558138880"),
        ({"size_bytes": "10"}, "Expected `int`, got `str`"),
        ({"expanded_bytes": 1.5}, "Expected `int`"),
        ({"key": ""}, "length >= 1"),
        ({"key": 7}, "Expected `str`"),
        ({"store": "s3://evil"}, "matching regex"),
        ({"store": "default\n"}, "matching regex"),
        ({"digest": "md5:0"}, "matching regex"),
        ({"type": "bucket"}, "Invalid value 'bucket'"),
        ({"created": 7.5e99}, "claim rejected"),
    ],
)
def test_a_broken_field_is_rejected(fields, expected):
    """A field of a wrong type, size or name is rejected, and the error says what was expected."""
    with pytest.raises(ClaimError, match="claim rejected") as caught:
        claim.read(body(**fields))

    assert expected in str(caught.value)


@pytest.mark.parametrize("field", sorted(set(GOOD) - {"type"}))
def test_a_missing_field_is_rejected(field):
    """Every field is required, and the error names the one that is missing."""
    payload = {name: value for name, value in GOOD.items() if name != field}
    content = msgspec.msgpack.encode({"shape": "task", "payload": payload})

    with pytest.raises(ClaimError, match=f"missing required field `{field}`"):
        claim.read(msgspec.msgpack.encode([1, content, b""]))


def test_an_unknown_version_is_rejected():
    """A claim of another version is rejected, and the error names the version."""
    with pytest.raises(ClaimError, match=r"version=2.*reads version 1 only; upgrade workers before"):
        claim.read(body(version=2))


@pytest.mark.parametrize("garbage", [b"", b"\x00", b"[1]", b"\xc1", b"\x93\x01", b"x" * 1000, b"\x91" * 5000])
def test_garbage_is_rejected(garbage):
    """Bytes that are no claim at all raise ClaimError and nothing else."""
    with pytest.raises(ClaimError, match="claim rejected"):
        claim.read(garbage)


def test_a_signature_covers_the_whole_claim():
    """With a signing key, a claim without signature, with another key's, or changed by a bit is rejected."""
    message = claim.read(body())
    signed = claim.write(message, KEY)
    flipped = signed.replace(b"default", b"defaulu")

    for forged in (claim.write(message), claim.write(message, b"x" * 32), flipped):
        with pytest.raises(ClaimError, match="signature"):
            claim.read(forged, KEY)


def test_keys_hold_a_day_and_are_unguessable():
    """A key holds a shard, the day and 160 random bits, and never the same ones twice."""
    now = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)
    keys = {new_key("claims", now) for _ in range(1000)}

    assert len(keys) == 1000
    assert all(re.match("claims/v1/[0-9a-f]{2}/2026/11/21/", key) and len(key) == 64 for key in keys)


def test_keys_of_one_day_are_spread_over_all_shards():
    """S3 divides its key space by what keys begin with: those of one day begin in 256 ways."""
    now = datetime(2026, 11, 21, tzinfo=UTC)
    heads = {new_key("claims", now).partition("/2026/")[0] for _ in range(10_000)}

    assert heads == {f"claims/v1/{shard:02x}" for shard in range(256)}


@pytest.mark.parametrize("prefix", ["", "claims", "a/b"])
def test_own_keys_pass_the_check(prefix):
    """Every key that we make under a prefix is accepted under it."""
    check_key(new_key(prefix), prefix)


@pytest.mark.parametrize(
    "key",
    [
        "other/v1/0a/2026/11/21/" + "0" * 40,
        "claims/../secrets/v1/0a/2026/11/21/" + "0" * 40,
        "claims/v1/0a/2026/11/21/../" + "0" * 40,
        "claims/v1/2026/11/21/" + "0" * 40,
        "claims/v1/0/2026/11/21/" + "0" * 40,
        "claims/v1/0G/2026/11/21/" + "0" * 40,
        "claims/v2/0a/2026/11/21/" + "0" * 40,
        "claims/v1/0a/2026/11/21/" + "0" * 39,
        "claims/v1/0a/2026/99/99/" + "0" * 40,
        "claims/v1/0a/2026/02/30/" + "0" * 40,
        "claims/v1/0a/0000/01/01/" + "0" * 40,
        "claims/v1/0a/2026/11/21/" + "G" * 40,
        "claims/v1/0a/2026/11/21/" + "0" * 40 + "\n",
        "claims/v1/0a/2026/11/21/" + "0" * 40 + "/x",
        "claims/v1/0a/٢٠٢٦/11/21/" + "0" * 40,
        "s3://evil/claims/v1/0a/2026/11/21/" + "0" * 40,
        "/claims/v1/0a/2026/11/21/" + "0" * 40,
    ],
)
def test_foreign_keys_are_rejected(key):
    """A key that we could not have made is rejected, and the error shows the grammar."""
    with pytest.raises(ClaimError, match=r"expected claims/v1/<2 hex digits>/YYYY/MM/DD/<40 hex digits>"):
        check_key(key, "claims")


def test_names_of_our_own_are_reserved(claimcheck):
    """No store may have a prefix under which another one keeps handles, results or records."""
    revocations.revoke(claimcheck, ["id"])
    [revoked] = claimcheck.store.list()
    handle = claimcheck.put(b"x").key
    keys = (handle, new_result_key("claims"), record_key("claims", "task", "call"), revoked.key)

    assert {key.split("/")[1] for key in keys} == RESERVED
