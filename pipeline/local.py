"""A local AWS: moto's server, in the foreground or as a child process.

For development, demonstrations and tests; needs the extra ``local``. It keeps all data in memory, checks no
signatures, and expires nothing::

    with EmbeddedAWS() as aws:
        subprocess.run(command, env={**os.environ, **aws.environment()}, check=True)
"""

import http.client
import io
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

HOST = "127.0.0.1"
"""Address of child processes: only this machine can connect."""
REGION = "eu-west-1"
START_SECONDS = 30.0
"""Timeout of a server's start; moto needs one to three seconds."""
TURN_SECONDS = 5.0
"""How long a write of the server waits for others: one that waits for a write itself holds nobody up."""
STOP_SECONDS = 10.0
"""Time after which a server that does not stop is killed."""
LOG_TAIL_CHARACTERS = 4_000
"""Characters of a server's log in an error."""

ISOLATION = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
"""Environment of a process that must not use a real AWS account."""


def environment(url: str) -> dict[str, str]:
    """Return the variables that point every AWS SDK at ``url``, with fake credentials."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        **ISOLATION,
    }


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def serve(host: str, port: int, announce: Callable[[str], object]) -> None:
    """Run the server in this process until SIGINT or SIGTERM ends it with status 0.

    Process: its main thread; signal handlers are replaced.

    Args:
        host: address to listen on.
        port: port to listen on.
        announce: called once with the server's URL, just before it listens.

    Raises:
        ModuleNotFoundError: the extra ``local`` is not installed.
        OSError: the address is invalid or in use.
    """
    try:
        from moto.moto_server import werkzeug_app as moto  # noqa: PLC0415 - an extra
        from werkzeug.serving import run_simple  # noqa: PLC0415 - comes with moto's server
    except ImportError as exc:
        raise ModuleNotFoundError(
            f"moto's server is missing ({exc}): pip install 'celery-claimcheck-pipeline[local]'"
        ) from exc
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    socket.create_server((host, port)).close()
    announce(f"http://{host}:{port}")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    os.environ.setdefault("MOTO_PORT", str(port))
    app = _in_turn(moto.DomainDispatcherApplication(moto.create_backend_app))
    run_simple(host, port, app, threaded=True, request_handler=moto.MotoRequestHandler)


def _in_turn(app: "WSGIApplication") -> "WSGIApplication":
    """Let moto do one write at a time: its services are not safe in threads (moto 5.2.5).

    S3 and DynamoDB check the condition of a write, and then write: two threads may both find it met. SQS
    deletes a message by a new list of all others: what is sent meanwhile is lost, and what is deleted
    meanwhile comes back.
    """
    from werkzeug.wsgi import get_input_stream  # noqa: PLC0415 - comes with moto's server

    turn = threading.Lock()

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        body = get_input_stream(environ).read()  # a slow sender keeps nobody waiting
        environ |= {"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True}
        has_turn = not _needs_no_turn(environ, body) and turn.acquire(timeout=TURN_SECONDS)
        try:
            return app(environ, start_response)
        finally:
            if has_turn:
                turn.release()

    return answer


def _needs_no_turn(environ: "WSGIEnvironment", body: bytes) -> bool:
    """Say whether a request changes nothing, or waits for a message."""
    is_form = environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded")
    receives = environ.get("HTTP_X_AMZ_TARGET", "").endswith(".ReceiveMessage") or (
        is_form and b"Action=ReceiveMessage" in body
    )
    return receives or environ["REQUEST_METHOD"] in ("GET", "HEAD")


class Server:
    """A server as a child process on a free port, for the length of a ``with`` block.

    Its log and temporary files are in a folder that is deleted at the end. Subclasses define the command and
    the readiness check. Not safe to share between threads.
    """

    name: ClassVar[str]
    """Name in errors."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def command(self) -> Sequence[str]:
        """Return the command that runs the server in the foreground."""
        raise NotImplementedError

    def settings(self) -> Mapping[str, str]:
        """Return more environment variables of the server."""
        return {}

    def answers(self) -> bool:
        """Return whether the server is ready; may raise OSError while it is not."""
        raise NotImplementedError

    def start(self) -> Self:
        """Start the process, and wait until it answers.

        Raises:
            FileNotFoundError: its program is not installed.
            RuntimeError: it ended or did not answer in time; quotes the end of its log.
        """
        self._folder = tempfile.TemporaryDirectory(prefix=f"{self.name}-")
        try:
            self._process = self._spawn(self._folder.name)
            self._await_answer(time.monotonic() + START_SECONDS)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Terminate the process and wait for it. Safe to call twice."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.cleanup()

    @property
    def pid(self) -> int | None:
        """Id of the running process."""
        return self._process.pid if self._process else None

    def log(self) -> str:
        """Return the end of the running server's log."""
        if self._folder is None:
            return ""
        return Path(self._folder.name, "log").read_text(errors="replace")[-LOG_TAIL_CHARACTERS:]

    def _spawn(self, folder: str) -> subprocess.Popen[bytes]:
        variables = {**os.environ, "TMPDIR": folder, **self.settings()}
        with Path(folder, "log").open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - a fixed command
                self.command(),
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a terminal's Ctrl-C must not end it before its users
            )

    def _await_answer(self, deadline: float) -> None:
        while not self._is_up():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not answer on {self.url}:\n{self.log()}")
            time.sleep(0.05)

    def _is_up(self) -> bool:
        status = self._process.poll() if self._process else None
        if status is not None:
            raise RuntimeError(f"{self.name} ended with status {status}:\n{self.log()}")
        try:
            return self.answers()
        except (OSError, http.client.HTTPException):
            return False

    def request(self, method: str, path: str) -> bool:
        """Send an empty HTTP request without a proxy, and return whether the answer was 200.

        Raises:
            OSError: the server did not answer.
        """
        connection = http.client.HTTPConnection(HOST, self.port, timeout=STOP_SECONDS)
        try:
            connection.request(method, path)
            return connection.getresponse().status == http.HTTPStatus.OK
        finally:
            connection.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class EmbeddedAWS(Server):
    """``python -m pipeline local`` as a child process: S3, SQS, CloudWatch and the rest of moto."""

    name = "moto"

    def command(self) -> Sequence[str]:
        """Return the ``pipeline local`` command on the free port."""
        return [sys.executable, "-m", "pipeline", "local", "--host", HOST, "--port", str(self.port)]

    def answers(self) -> bool:
        """Request a page of moto."""
        return self.request("GET", "/moto-api/data.json")

    def environment(self) -> dict[str, str]:
        """Return the ``AWS_*`` variables for this server."""
        return environment(self.url)

    def reset(self) -> None:
        """Delete all buckets, queues and metrics.

        Raises:
            OSError: the server is not running.
        """
        self.request("POST", "/moto-api/reset")
