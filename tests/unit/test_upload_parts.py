"""Parts of a payload are sent without a copy, over HTTPS too, and once more if need be."""

from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum

from pipeline.stores.s3.reading import READ_BYTES
from pipeline.stores.s3.uploads import Part

DATA = bytes(range(256)) * (READ_BYTES // 128)


def test_a_part_is_read_without_a_copy():
    """Each read is a view of a mebibyte or more, and the last one is empty."""
    part = Part(memoryview(DATA))
    reads = list(iter(lambda: part.read(16_384), b""))

    assert [type(each) for each in reads] == [memoryview, memoryview]
    assert b"".join(reads) == DATA
    assert part.tell() == len(part) == len(DATA)


def test_a_part_is_read_again():
    """A part that is sent again begins where its reader wants it to."""
    part = Part(memoryview(DATA))
    part.read()
    assert part.seek(-3, 2) == len(DATA) - 3

    assert bytes(part.read()) == DATA[-3:]
    assert part.seek(0) == 0
    assert bytes(part.read()) == DATA


def test_botocore_sends_a_part_in_chunks():
    """Over HTTPS botocore sends a part in chunks, with a checksum at the end."""
    wrapped = AwsChunkedWrapper(Part(memoryview(DATA)), Crc32Checksum, "x-amz-checksum-crc32")
    sent = wrapped.read()

    assert sent.startswith(b"100000\r\n" + DATA[:READ_BYTES] + b"\r\n100000\r\n")
    assert b"\r\n0\r\nx-amz-checksum-crc32:" in sent
