"""The proxy and the stand-ins do what they say: other tests believe what these prove."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing
from hashlib import sha256
from http import HTTPStatus
from random import Random

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from click.testing import CliRunner
from http_messages import Head, body
from proxy_requests import request_of
from standins import AWS, running
from workers import eventually

from pipeline import local
from pipeline.cli import main
from pipeline.local import EmbeddedAWS, Server, free_port

pytestmark = pytest.mark.aws

ONCE = Config(retries={"total_max_attempts": 1})
LIST_BUCKETS = "import boto3; print(boto3.client('s3').list_buckets()['Buckets'][0]['Name'])"
RETURN_CODE = "import sys; print('no luck'); sys.exit(3)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


class Script(Server):
    """A few lines of Python that are up once they have printed so."""

    name = "script"

    def __init__(self, text):
        super().__init__()
        self.text = text

    def command(self):
        return [sys.executable, "-c", self.text]

    def answers(self):
        return self.log() == "up\n"


class Absent(Script):
    def command(self):
        return ["/nowhere/absent"]


@pytest.fixture
def s3(proxy, aws):
    """S3 through the proxy, without retries."""
    with closing(aws.client("s3", endpoint_url=proxy.url, config=ONCE)) as client:
        yield client


@pytest.fixture
def bucket(aws):
    return aws.bucket()


@pytest.fixture
def line(proxy):
    """One plain HTTP connection through the proxy."""
    with closing(http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)) as connection:
        yield connection


@pytest.fixture
def odd_server():
    """A server that answers each connection with the bytes it is told to, and then closes it."""
    listener = socket.create_server(("127.0.0.1", 0))
    answers = []

    def serve():
        for answer in answers:
            client, _ = listener.accept()
            with client:
                client.recv(65_536)
                client.sendall(answer)

    def start(*texts):
        answers.extend(texts)
        thread.start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    thread = threading.Thread(target=serve)
    yield start
    thread.join()
    listener.close()


def keys(aws, bucket):
    listed = aws.client("s3").list_objects_v2(Bucket=bucket)
    return [each["Key"] for each in listed.get("Contents", ())]


def stored(aws, bucket, content):
    """Store an object behind the proxy's back, and return the path that anybody may read it at."""
    where = {"Bucket": bucket, "Key": "key"}
    aws.client("s3").put_object(**where, Body=content)
    return aws.client("s3").generate_presigned_url("get_object", Params=where).removeprefix(aws.url)


def fetch(line, path="/"):
    line.request("GET", path)
    return line.getresponse().read()


# The stand-ins.


def test_a_stand_in_forgets_on_reset(aws, request):
    """Reset takes every bucket and every queue with it."""
    aws.bucket()
    aws.queue(VisibilityTimeout=7)
    request.getfixturevalue(aws.name).reset()

    assert aws.client("s3").list_buckets()["Buckets"] == []
    assert aws.client("sqs").list_queues().get("QueueUrls", []) == []


def test_redis_forgets_on_reset(redis_server):
    """Redis answers, and its reset takes every key with it."""
    assert redis_server.say("SET key value") == "+OK"
    redis_server.reset()
    assert redis_server.say("DBSIZE") == ":0"


def test_the_environment_leads_children_to_the_stand_in(aws):
    """A child process that inherits the environment finds the stand-in, and nothing else."""
    bucket = aws.bucket()
    command = [sys.executable, "-c", LIST_BUCKETS]

    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == bucket


def test_a_test_sees_nothing_of_the_developers_settings():
    """Without a stand-in the environment leads nowhere at all."""
    ours = {name for name in os.environ if name.startswith(("AWS_", "CELERY_", "CLAIMCHECK_"))}
    assert ours == set(local.ISOLATION)


def test_a_server_that_ends_is_explained_by_its_log():
    """A server that ends at once raises its status and the end of its log."""
    with pytest.raises(RuntimeError, match="script ended with status 3:\nno luck"):
        Script(RETURN_CODE).start()


def test_a_server_that_does_not_answer_is_ended(monkeypatch):
    """A server that never answers is killed, even if it ignores the request to end."""
    monkeypatch.setattr(local, "START_SECONDS", 1.0)
    monkeypatch.setattr(local, "STOP_SECONDS", 0.1)
    mute = Script(STUBBORN.replace("up", "not quite"))
    with pytest.raises(RuntimeError, match=r"script did not answer on http://[\d.:]+:\nnot quite"):
        mute.start()

    assert mute.pid is None
    assert mute.log() == ""


def test_a_server_is_ended_by_its_pid():
    """Leaving the block ends the very process that was started, and stopping again is harmless."""
    with Script("import time; print('up', flush=True); time.sleep(60)") as server:
        process = psutil.Process(server.pid)
        assert process.is_running()

    server.stop()
    assert not process.is_running()


def test_a_server_says_what_it_must_say():
    """A server without a command or a question to ask is no server."""
    with pytest.raises(NotImplementedError):
        Server().command()
    with pytest.raises(NotImplementedError):
        Server().answers()


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_an_absent_server_skips_here_and_fails_in_ci(monkeypatch, ci, outcome):
    """A program that is not installed skips its tests, except where CI is set."""
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="script is not installed"):
        next(running(Absent("")))


# The embedded AWS.


def test_the_embedded_aws_serves_boto3():
    """The embedded AWS runs our own command, and its environment leads there."""
    with EmbeddedAWS() as embedded:
        AWS("embedded", embedded.url).bucket()
        environment = {**os.environ, **embedded.environment()}
        command = [sys.executable, "-c", LIST_BUCKETS]
        found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

        assert found.stdout.startswith("bucket-")
        assert embedded.log().startswith(f"export AWS_ENDPOINT_URL={embedded.url} AWS_ACCESS_KEY_ID=")
        assert embedded.log().count("\n") == 1
        embedded.reset()
        assert AWS("embedded", embedded.url).client("s3").list_buckets()["Buckets"] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_local_command_ends_cleanly(number):
    """Ctrl-C and SIGTERM end ``pipeline local`` with status 0 and without a traceback."""
    with EmbeddedAWS() as embedded:
        os.kill(embedded.pid, number)

        assert embedded._process.wait(10) == 0
        assert "Traceback" not in embedded.log()


def test_the_local_command_names_the_missing_extra(monkeypatch):
    """Without moto, ``pipeline local`` says how to install it."""
    monkeypatch.setitem(sys.modules, "moto", None)
    result = CliRunner().invoke(main.main, ["local", "--port", str(free_port())])

    assert result.exit_code == 2
    assert "pip install 'celery-claimcheck-pipeline[local]'" in result.output


def test_the_local_command_names_the_taken_port():
    """On a port that is taken, ``pipeline local`` says so and promises nothing."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main.main, ["local", "--port", str(port)])

    assert result.exit_code == 2
    assert result.output.startswith(f"Error: cannot listen on 127.0.0.1:{port}: Address already in use")


def test_the_local_command_announces_and_serves(monkeypatch):
    """``pipeline local`` prints one line that a shell can run, and then is moto's server."""
    served = []
    monkeypatch.setattr("moto.server.main", served.append)
    result = CliRunner().invoke(main.main, ["local", "--port", "45661"])

    assert served == [["--host", "127.0.0.1", "--port", "45661"]]
    assert result.output.startswith("export AWS_ENDPOINT_URL=http://127.0.0.1:45661 AWS_ACCESS_KEY_ID=")
    assert result.output.count("\n") == 1


# The proxy when nothing is broken.


def test_the_proxy_is_transparent(proxy, aws, bucket):
    """S3, SQS, CloudWatch and SNS work through the proxy, which names every operation."""
    content = Random(1).randbytes(300_000)
    with closing(boto3.client("s3")) as s3:
        s3.put_object(Bucket=bucket, Key="a/key with ünicode", Body=content)
        assert s3.get_object(Bucket=bucket, Key="a/key with ünicode")["Body"].read() == content
        s3.head_object(Bucket=bucket, Key="a/key with ünicode")
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a/key with ünicode"}]})
        s3.list_objects_v2(Bucket=bucket)
    with closing(boto3.client("sqs")) as sqs:
        queue = sqs.create_queue(QueueName="queue")["QueueUrl"]
        sqs.send_message(QueueUrl=queue, MessageBody="hello")
        assert sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"] == "hello"
    with closing(boto3.client("cloudwatch")) as cloudwatch:
        cloudwatch.put_metric_data(Namespace="n", MetricData=[{"MetricName": "m", "Value": 1.0}])
    with closing(boto3.client("sns")) as sns:
        sns.create_topic(Name="topic")

    assert [*proxy.operations] == [
        *("PutObject", "GetObject", "HeadObject", "DeleteObjects", "ListObjectsV2"),
        *("CreateQueue", "SendMessage", "ReceiveMessage", "PutMetricData", "CreateTopic"),
    ]
    assert {request.status for request in proxy.requests} == {HTTPStatus.OK}
    assert {request.pid for request in proxy.requests} == {os.getpid()}
    assert proxy.requests[0].path == f"/{bucket}/a/key with ünicode"
    assert all("Boto3" in request.user_agent for request in proxy.requests)


@pytest.mark.parametrize(
    ("method", "target", "name"),
    [
        ("GET", "/", "ListBuckets"),
        ("PUT", "/bucket", "CreateBucket"),
        ("PUT", "/bucket?lifecycle", "PutBucketLifecycleConfiguration"),
        ("GET", "/bucket?prefix=p", "ListObjects"),
        ("GET", "/bucket/?list-type=2&prefix=p", "ListObjectsV2"),
        ("POST", "/bucket/a/b?uploads", "CreateMultipartUpload"),
        ("PUT", "/bucket/a/b?partNumber=1&uploadId=u", "UploadPart"),
        ("POST", "/bucket/a/b?uploadId=u", "CompleteMultipartUpload"),
        ("DELETE", "/bucket/a/b?uploadId=u", "AbortMultipartUpload"),
        ("DELETE", "/bucket/a/b", "DeleteObject"),
        ("GET", "/bucket/a/b?partNumber=2", "GetObject"),
        ("PATCH", "/bucket/a/b", "PATCH /bucket/a/b"),
        ("POST", "/service/GraniteServiceVersion20100801/operation/PutMetricData", "PutMetricData"),
    ],
)
def test_operations_are_named_as_boto3_names_them(method, target, name):
    """Method, path and query tell which of S3's operations a request is."""
    head = Head([f"{method} {target} HTTP/1.1\r\n".encode()])
    assert request_of(head, iter(()), 1, None).operation == name


def test_a_header_can_tell_operations_apart():
    """A copy differs from a put by one header alone."""
    head = Head([b"PUT /bucket/key HTTP/1.1\r\n", b"X-Amz-Copy-Source: other/key\r\n"])
    assert request_of(head, iter(()), 1, None).operation == "CopyObject"


def test_a_connection_stays_open(proxy, aws, line):
    """One client's requests share its connection, even where the server closes its own."""
    fetch(line)
    fetch(line)
    assert len({request.client_port for request in proxy.requests}) == 1


def test_a_client_may_close_its_connection(proxy, aws, line):
    """A client that asks for it is the last that its connection serves."""
    line.request("GET", "/", headers={"Connection": "close"})
    line.getresponse().read()
    assert line.sock.recv(1) == b""


@pytest.mark.slow
def test_a_huge_body_passes_both_ways(s3, bucket):
    """A body of 100 MB comes back as it was sent."""
    content = Random(2).randbytes(100_000_000)
    s3.put_object(Bucket=bucket, Key="huge", Body=content)
    back = s3.get_object(Bucket=bucket, Key="huge")["Body"].read()
    assert sha256(back).digest() == sha256(content).digest()


def test_a_client_that_waits_for_100_continue_is_told_to_go_on(proxy, aws, bucket):
    """The body of a request with Expect is sent only after the proxy has asked for it."""
    with (
        socket.create_connection(("127.0.0.1", proxy.port)) as client,
        client.makefile("rb") as answers,
    ):
        head = f"PUT /{bucket}/key HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        client.sendall(head.encode())
        assert answers.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert answers.readline() == b"\r\n"
        client.sendall(b"hello")
        assert answers.readline() == b"HTTP/1.1 200 OK\r\n"

    assert aws.client("s3").get_object(Bucket=bucket, Key="key")["Body"].read() == b"hello"


def test_a_chunked_body_passes_as_it_is(proxy, aws, bucket, line):
    """A request may come in chunks, and the connection can be used again after them."""
    line.request("PUT", f"/{bucket}/key", iter([b"a" * 70_000, b"b" * 70_000]), encode_chunked=True)
    assert line.getresponse().read() == b""
    fetch(line)

    assert (
        aws.client("s3").get_object(Bucket=bucket, Key="key")["Body"].read() == b"a" * 70_000 + b"b" * 70_000
    )
    assert proxy.requests[0].headers["transfer-encoding"] == "chunked"


def test_chunks_may_have_trailers():
    """Trailers and marks of chunks pass byte by byte, and nothing after them is touched."""
    text = b"5;x=y\r\nhello\r\n0\r\nx-amz-checksum-crc32: AAAA\r\n\r\n"
    head = Head([b"PUT / HTTP/1.1\r\n", b"Transfer-Encoding: chunked\r\n"])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server, server.makefile("rb") as stream:
        client.sendall(text + b"NEXT")
        assert b"".join(body(stream, head)) == text
        assert stream.read(4) == b"NEXT"


def test_the_pid_tells_processes_apart(proxy, aws):
    """A request of a child process carries the child's pid."""
    aws.bucket()
    with subprocess.Popen([sys.executable, "-c", LIST_BUCKETS], stdout=subprocess.DEVNULL) as child:
        assert child.wait(60) == 0

    assert [request.pid for request in proxy.seen("ListBuckets")] == [child.pid]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ],
    ids=["until close", "1.0", "chunked", "100"],
)
def test_every_kind_of_answer_passes(odd_server, proxy_to, answer):
    """An answer ends where its length, its chunks or its connection end."""
    proxy = proxy_to(odd_server(answer))
    with closing(http.client.HTTPConnection("127.0.0.1", proxy.port)) as line:
        assert fetch(line) == b"hello"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"])
def test_a_server_that_breaks_off_is_seen_to(odd_server, proxy_to, answer):
    """What the server itself breaks off, the client sees broken off."""
    proxy = proxy_to(odd_server(answer))
    with (
        closing(http.client.HTTPConnection("127.0.0.1", proxy.port)) as line,
        pytest.raises((http.client.HTTPException, ConnectionError)),
    ):
        fetch(line)


# The proxy when it breaks things.


def test_fail_answers_as_often_as_told(proxy, aws, bucket, s3):
    """A failure reaches the client as often as ordered, the server never, and then all is well."""
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
    """Refusing resets what is open and refuses what is new, until the same port accepts again."""
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


def test_refuse_cuts_a_request_that_is_held_back(proxy, aws, line):
    """A request that waits in the proxy is reset, and never reaches the server."""
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
    """Of an answer in chunks, the first byte of the first chunk is flipped."""
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    proxy = proxy_to(odd_server(answer))
    proxy.flip()
    with closing(http.client.HTTPConnection("127.0.0.1", proxy.port)) as line:
        assert fetch(line) == b"iello"


def test_lose_lets_the_server_act(proxy, aws, bucket, s3):
    """The answer is lost, and what was asked for is done."""
    proxy.lose("PutObject", times=1)
    with pytest.raises(ConnectionClosedError):
        s3.put_object(Bucket=bucket, Key="key", Body=b"x")

    assert keys(aws, bucket) == ["key"]
    assert [(request.fault, request.status) for request in proxy.requests] == [("lose", 200)]


def test_delay_holds_a_request_back(proxy, aws):
    """A client that waits less than the delay gives up, and the delay does not hold up the proxy."""
    rule = proxy.delay(3_600, times=1)
    with closing(http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=0.2)) as line:
        with pytest.raises(TimeoutError):
            fetch(line)
        line.close()
        line.timeout = 30
        assert fetch(line)

    assert rule.used == 1


def test_a_delay_comes_on_top_of_a_fault(proxy, aws, line):
    """A request can be held back and broken."""
    proxy.delay(0.01)
    proxy.fail(status=500)
    line.request("GET", "/")
    assert line.getresponse().status == 500
    assert proxy.requests[0].fault == "fail"


def test_a_server_that_is_gone_closes_the_connection(proxy_to):
    """Where nobody listens behind the proxy, the client's connection just ends."""
    proxy = proxy_to(f"http://127.0.0.1:{free_port()}")
    with (
        closing(http.client.HTTPConnection("127.0.0.1", proxy.port)) as line,
        pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)),
    ):
        fetch(line)
