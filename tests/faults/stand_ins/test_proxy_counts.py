"""What benchmarks need of the proxy: bytes, connections to the server, and the time of a round trip."""

import http.client
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from proxy_calls import fetch

from benchmarks.proxy import Proxy
from benchmarks.proxy.requests import Request


@pytest.fixture
def server():
    """A server that answers ``hello``, counts its connections, and closes one if asked for ``/close``."""

    class Hello(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            super().setup()
            started.connections += 1

        def do_GET(self):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n")
            if self.path == "/close":
                self.close_connection = True
                self.wfile.write(b"Connection: close\r\n")
            self.wfile.write(b"\r\nhello")

        def log_message(self, *_):
            pass

    started = ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    started.connections = 0
    started.url = f"http://127.0.0.1:{started.server_port}"
    thread = threading.Thread(target=started.serve_forever)
    thread.start()
    yield started
    started.shutdown()
    thread.join()
    started.server_close()


@pytest.mark.parametrize(
    ("keeps_connections", "paths", "connections"),
    [(True, ["/", "/", "/"], 1), (True, ["/", "/close", "/"], 2), (False, ["/", "/", "/"], 3)],
)
def test_a_connection_to_the_server_is_kept_if_asked(server, keeps_connections, paths, connections):
    """A client's requests share a connection to the server only if asked, and until the server closes it."""
    with (
        Proxy(server.url, keeps_connections=keeps_connections) as proxy,
        closing(http.client.HTTPConnection("127.0.0.1", proxy.port)) as line,
    ):
        answers = [fetch(line, path) for path in paths]

    assert answers == [b"hello"] * 3
    assert server.connections == connections


def test_bytes_are_counted_both_ways(server):
    """A request knows how many bytes it and its answer had on the wire."""
    with (
        Proxy(server.url) as proxy,
        closing(http.client.HTTPConnection("127.0.0.1", proxy.port)) as line,
    ):
        fetch(line)
        line.close()
    (request,) = proxy.requests

    host = f"Host: 127.0.0.1:{proxy.port}"
    assert request.sent_bytes == len(f"GET / HTTP/1.1\r\n{host}\r\nAccept-Encoding: identity\r\n\r\n")
    assert request.answered_bytes == len("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    assert request.answered_at is not None


def test_a_round_trip_delays_each_request():
    """The latency is added to what rules delay."""
    proxy = Proxy("http://127.0.0.1:1")
    proxy.latency_seconds = 0.5
    proxy.delay(2, "GetObject")
    try:
        delays = [
            proxy.plan(Request("GET", "/", {}, {}, name, 1, None))[0] for name in ("PutObject", "GetObject")
        ]
    finally:
        proxy.__exit__()

    assert delays == [0.5, 2.5]
