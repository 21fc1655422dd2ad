"""The proxy injects each fault that other tests order."""

import http.client
import threading
from contextlib import closing
from random import Random

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from proxy_calls import ONCE, fetch
from workers import eventually

from pipeline.local import free_port

pytestmark = pytest.mark.aws


def keys(aws, bucket):
    listed = aws.client("s3").list_objects_v2(Bucket=bucket)
    return [each["Key"] for each in listed.get("Contents", ())]


def stored(aws, bucket, content):
    """Store an object behind the proxy's back, and return the path that anybody may read it at."""
    where = {"Bucket": bucket, "Key": "key"}
    aws.client("s3").put_object(**where, Body=content)
    return aws.client("s3").generate_presigned_url("get_object", Params=where).removeprefix(aws.url)


def test_fail_answers_as_often_as_ordered(proxy, aws, bucket, s3):
    """A rule fails exactly as many requests as ordered, and none of them reaches the server."""
    rule = proxy.fail("PutObject", status=503, times=2)
    for _ in range(2):
        with pytest.raises(ClientError) as caught:
            s3.put_object(Bucket=bucket, Key="key", Body=b"x" * 3_000_000)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert keys(aws, bucket) == []

    s3.put_object(Bucket=bucket, Key="key", Body=b"x")
    assert rule.used == 2
    assert [(request.fault, request.status) for request in proxy.seen("PutObject")] == [
        *[("fail", 503)] * 2,
        (None, 200),
    ]
    assert len({request.client_port for request in proxy.requests}) == 1


def test_fail_can_carry_a_body(proxy, s3, bucket):
    """A failure's body is the error that boto3 sees; an answer to HEAD has none."""
    proxy.fail(status=400, content=b"<Error><Code>SlowDown</Code></Error>")
    with pytest.raises(ClientError, match="SlowDown"):
        s3.list_objects_v2(Bucket=bucket)
    with pytest.raises(ClientError, match="400"):
        s3.head_object(Bucket=bucket, Key="key")
    with pytest.raises(ClientError, match="SlowDown"):
        s3.list_objects_v2(Bucket=bucket)


def test_rules_match_by_function_and_in_order(proxy, s3, bucket):
    """The first rule that matches is used until it is used up, and healing forgets them all."""
    proxy.fail(lambda request: request.path.endswith("/key"), status=500, times=1)
    proxy.fail(status=503)
    seen = []
    for _ in range(2):
        with pytest.raises(ClientError) as caught:
            s3.delete_object(Bucket=bucket, Key="key")
        seen.append(caught.value.response["ResponseMetadata"]["HTTPStatusCode"])
    proxy.heal()
    s3.delete_object(Bucket=bucket, Key="key")

    assert seen == [500, 503]


def test_refuse_resets_and_refuses(proxy, aws, line):
    """``refuse`` resets open connections and refuses new ones until the port accepts again."""
    fetch(line)
    proxy.refuse()
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        line.sock.recv(1)
    line.close()
    with pytest.raises(ConnectionRefusedError):
        fetch(line)
    line.close()

    proxy.accept()
    proxy.accept()
    assert fetch(line)
    proxy.refuse()
    proxy.heal()
    line.close()
    assert fetch(line)


def test_refuse_cuts_a_delayed_request(proxy, aws, line):
    """``refuse`` resets a request that waits in the proxy, which never reaches the server."""
    proxy.delay(3_600)
    line.request("GET", "/")
    eventually(lambda: proxy.requests)
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        line.getresponse()

    assert proxy.requests[0].status is None


def test_refuse_cuts_a_request_that_the_server_holds(proxy, aws):
    """A long poll is reset, too."""
    queue = aws.queue()
    with closing(aws.client("sqs", endpoint_url=proxy.url, config=ONCE)) as sqs:
        failed = []

        def poll():
            with pytest.raises(ConnectionClosedError) as caught:
                sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20)
            failed.append(caught)

        thread = threading.Thread(target=poll)
        thread.start()
        eventually(lambda: proxy.requests)
        proxy.refuse()
        thread.join()
    assert len(failed) == 1


def test_reset_comes_in_the_middle_of_the_answer(proxy, aws, bucket, line):
    """A reset answer begins and ends with a RST, though the server has done its part."""
    path = stored(aws, bucket, bytes(10_000_000))
    proxy.reset("GetObject", times=1)
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        fetch(line, path)

    line.close()
    assert fetch(line, path) == bytes(10_000_000)
    assert [request.fault for request in proxy.requests] == ["reset", None]


def test_truncate_sends_less_than_promised(proxy, aws, bucket, line):
    """A truncated answer promises its whole length, and half of it comes."""
    path = stored(aws, bucket, bytes(1_000_000))
    proxy.truncate("GetObject")
    with pytest.raises(http.client.IncompleteRead) as caught:
        fetch(line, path)

    assert len(caught.value.partial) == 500_000
    assert caught.value.expected == 500_000


def test_truncate_cuts_an_answer_without_body_in_its_first_line(proxy, aws, bucket, s3):
    """An answer without a body is cut in its first line, though the server has acted."""
    proxy.truncate("PutObject")
    with pytest.raises(ConnectionClosedError):
        s3.put_object(Bucket=bucket, Key="key", Body=b"x")
    assert keys(aws, bucket) == ["key"]


def test_flip_changes_one_bit(proxy, aws, bucket, line):
    """A flipped answer has its length, and one bit of it is wrong."""
    content = Random(3).randbytes(1_000_000)
    path = stored(aws, bucket, content)
    proxy.flip("GetObject")
    assert fetch(line, path) == bytes([content[0] ^ 1]) + content[1:]


def test_flip_leaves_the_marks_of_chunks_alone(odd_server, proxy_to):
    """``flip`` changes the first byte of the first chunk, and no chunk header."""
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    proxy = proxy_to(odd_server(answer))
    proxy.flip()
    with closing(http.client.HTTPConnection("127.0.0.1", proxy.port)) as line:
        assert fetch(line) == b"iello"


def test_lose_lets_the_server_act(proxy, aws, bucket, s3):
    """A lost answer leaves the server's action done."""
    proxy.lose("PutObject", times=1)
    with pytest.raises(ConnectionClosedError):
        s3.put_object(Bucket=bucket, Key="key", Body=b"x")

    assert keys(aws, bucket) == ["key"]
    assert [(request.fault, request.status) for request in proxy.requests] == [("lose", 200)]


def test_delay_delays_one_request(proxy, aws):
    """A delay makes one client time out and does not block the proxy."""
    rule = proxy.delay(3_600, times=1)
    with closing(http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=0.2)) as line:
        with pytest.raises(TimeoutError):
            fetch(line)
        line.close()
        line.timeout = 30
        assert fetch(line)

    assert rule.used == 1


def test_a_delay_comes_on_top_of_a_fault(proxy, aws, line):
    """One request can be both delayed and failed."""
    proxy.delay(0.01)
    proxy.fail(status=500)
    line.request("GET", "/")
    assert line.getresponse().status == 500
    assert proxy.requests[0].fault == "fail"


def test_a_server_that_is_gone_closes_the_connection(proxy_to):
    """The proxy closes the client's connection when no server listens behind it."""
    proxy = proxy_to(f"http://127.0.0.1:{free_port()}")
    with (
        closing(http.client.HTTPConnection("127.0.0.1", proxy.port)) as line,
        pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)),
    ):
        fetch(line)
