"""The proxy forwards every request and answer unchanged while no fault is set."""

import http.client
import os
import socket
import subprocess
import sys
from contextlib import closing
from hashlib import sha256
from http import HTTPStatus
from random import Random

import boto3
import pytest
from proxy_calls import LIST_BUCKETS, fetch

from benchmarks.proxy.messages import Head, body
from benchmarks.proxy.requests import request_of

pytestmark = pytest.mark.aws


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
    """Method, path and query identify the S3 operation of a request."""
    head = Head([f"{method} {target} HTTP/1.1\r\n".encode()])
    assert request_of(head, iter(()), 1, None).operation == name


def test_a_header_can_identify_an_operation():
    """A copy differs from a put by one header alone."""
    head = Head([b"PUT /bucket/key HTTP/1.1\r\n", b"X-Amz-Copy-Source: other/key\r\n"])
    assert request_of(head, iter(()), 1, None).operation == "CopyObject"


def test_a_connection_stays_open(proxy, aws, line):
    """One client's requests share its connection, even where the server closes its own."""
    fetch(line)
    fetch(line)
    assert len({request.client_port for request in proxy.requests}) == 1


def test_a_client_may_close_its_connection(proxy, aws, line):
    """A request with ``Connection: close`` is the last one on its connection."""
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


def test_the_proxy_answers_100_continue(proxy, aws, bucket):
    """The proxy answers 100 before it reads the body of a request with ``Expect``."""
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


def test_the_pid_identifies_the_process(proxy, aws):
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
    """The client sees an answer break off where the server broke it off."""
    proxy = proxy_to(odd_server(answer))
    with (
        closing(http.client.HTTPConnection("127.0.0.1", proxy.port)) as line,
        pytest.raises((http.client.HTTPException, ConnectionError)),
    ):
        fetch(line)
