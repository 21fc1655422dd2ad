"""Clients of the proxy, for the tests of the proxy itself."""

import http.client
import socket
import threading
from contextlib import closing

import pytest
from proxy_calls import ONCE


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
    """A server that answers each connection with the given bytes, and then closes it."""
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
