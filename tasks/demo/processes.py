"""The processes of a demo: a local AWS and a worker for each queue, started together and always stopped."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from types import FrameType

from pipeline.local import REGION, EmbeddedAWS
from pipeline.serializer import serializer
from tasks.demo import aws_resources, worker_journal

ROOT = Path(__file__).parents[2]
CONCURRENCY = {"default": 2, "bulk": 1}
"""Pool children of each queue's worker: queues scale apart."""
RESULT_BACKEND = f"dynamodb://{REGION}/claimcheck-results"
"""DynamoDB takes items up to 400 KB; larger results go to the bucket, as arguments do."""
READY_SECONDS = 30.0
"""How long workers may take to start."""
STOP_SECONDS = 20.0
"""How long workers may take to finish what they run and to send their last metrics."""
INTERRUPTED_STOP_SECONDS = 5.0
"""The same when the demo is interrupted."""

_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_FOREIGN = ("AWS_", "CELERY_", "CLAIMCHECK_")


class DemoError(Exception):
    """The demo cannot go on; the message is one sentence for its user."""


def sentence(exc: Exception) -> str:
    """Return an error as one line."""
    first = str(exc).partition("\n")[0]
    return first if isinstance(exc, DemoError) else f"{type(exc).__name__}: {first}"


def handle_signals() -> None:
    """Turn Ctrl-C and SIGTERM into ``SystemExit``, so that every ``with`` ends what it has started."""
    for number in _ENDINGS:
        signal.signal(number, _end)


def _end(number: int, _: FrameType | None) -> None:
    _ignore_signals()
    raise SystemExit(128 + number)


def _ignore_signals() -> None:
    """Ignore further signals: they must not cut short the ending of processes."""
    for number in _ENDINGS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay signals while a process starts: until it is registered, nothing would stop it."""
    delayed: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: delayed.append(number)) for number in _ENDINGS
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for each in delayed:
            signal.raise_signal(each)


@dataclass(slots=True)
class Workers:
    """One Celery worker for each queue, each with a process group of its own."""

    directory: Path
    app: str = "tasks.app"
    concurrency: Mapping[str, int] = field(default_factory=lambda: CONCURRENCY)
    """Pool children, by queue."""
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def journal(self) -> Path:
        """Path of the workers' journal."""
        return journal_of(self.directory)

    def start(self) -> None:
        """Start them with this process's environment, and wait until they take messages.

        Raises:
            DemoError: one of them has ended, or they took too long.
        """
        for queue in self.concurrency:
            with uninterrupted():
                self._processes[queue] = self._started(queue)
        deadline = monotonic() + READY_SECONDS
        while len(worker_journal.read(self.journal, worker_journal.READY)) < len(self.concurrency):
            self.check()
            if monotonic() > deadline:
                raise DemoError(f"the workers were not ready after {READY_SECONDS:.0f} s")
            sleep(0.1)

    def check(self) -> None:
        """Make sure that all of them are still there.

        Raises:
            DemoError: one of them has ended.
        """
        for queue, process in self._processes.items():
            code = process.poll()
            if code is not None:
                raise DemoError(f"the worker of queue {queue} ended with code {code}")

    def stop(self, timeout_seconds: float = STOP_SECONDS) -> None:
        """Let them finish what they run and send their last metrics. Safe to call twice."""
        stop(list(self._processes.values()), timeout_seconds)
        self._processes.clear()

    def _started(self, queue: str) -> subprocess.Popen[bytes]:
        return worker(self.directory, self.app, queue, queue, self.concurrency[queue])


def worker(
    directory: Path, app: str, queue: str, name: str, concurrency: int, *include: str
) -> subprocess.Popen[bytes]:
    """Start a worker of one queue, with a process group, a log and a node name of its own.

    Args:
        directory: where its log and the journal go.
        app: module of the Celery app.
        queue: what it consumes.
        name: of its node.
        concurrency: its pool children.
        include: further modules that it imports.
    """
    command = [sys.executable, "-m", "celery", "-A", app, "worker", "-Q", queue, "-P", "prefork"]
    command += ["-c", str(concurrency), "-n", f"{name}@%h", "-l", "INFO"]
    command += ["--include", ",".join((worker_journal.__name__, *include))]
    variables = {worker_journal.PATH_VARIABLE: str(journal_of(directory)), "TMPDIR": str(directory)}
    return started(command, directory / f"{name}.log", variables)


def stop(workers: Sequence[subprocess.Popen[bytes]], timeout_seconds: float) -> None:
    """Let workers finish what they run, and end those that do not. Their children end with them."""
    for process in workers:
        process.terminate()
    deadline = monotonic() + timeout_seconds
    for process in workers:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(deadline - monotonic(), 0))
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def journal_of(directory: Path) -> Path:
    """Return the path of the workers' journal."""
    return directory / "worker_journal.jsonl"


def started(
    command: Sequence[str], log: Path, variables: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a process of the demo, with this process's environment and more variables, and its own log."""
    with log.open("wb") as output:
        return subprocess.Popen(  # noqa: S603 - a fixed command
            command,
            cwd=ROOT,
            env=os.environ | (variables or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a terminal's Ctrl-C is for the demo, which ends things in order
        )


@contextmanager
def beside(
    command: Sequence[str], log: Path, variables: Mapping[str, str] | None = None
) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a further process of the demo for the length of a ``with`` block."""
    with uninterrupted():
        process = started(command, log, variables)
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(INTERRUPTED_STOP_SECONDS)
        process.kill()
        process.wait()


@contextmanager
def running(
    app: str = "tasks.app",
    concurrency: Mapping[str, int] = CONCURRENCY,
    make: Callable[[], None] = aws_resources.make,
) -> Iterator[Workers]:
    """Run the whole system, with this process as its producer, and end every process of it.

    Args:
        app: module of the Celery app.
        concurrency: pool children of the worker of each queue.
        make: creates what the app needs in the AWS that the environment names by then.

    Raises:
        DemoError: anything fails, here or in the ``with`` block.
    """
    with _logs() as directory, ExitStack() as stack:
        workers = Workers(directory, app, concurrency)
        try:
            _start(workers, stack, make)
            yield workers
        finally:
            _ignore_signals()


def _start(workers: Workers, stack: ExitStack, make: Callable[[], None]) -> None:
    with uninterrupted():
        aws = stack.enter_context(EmbeddedAWS())
    _enter(aws.environment())
    make()
    stack.callback(serializer.installed().recorder.close)
    stack.callback(workers.stop, INTERRUPTED_STOP_SECONDS)
    workers.start()


@contextmanager
def _logs() -> Iterator[Path]:
    """Give a directory for logs: it stays if something fails, and the error names it."""
    directory = Path(tempfile.mkdtemp(prefix="claimcheck-demo-"))
    failed = False
    try:
        yield directory
    except Exception as exc:
        failed = True
        raise DemoError(f"{sentence(exc)}; logs are in {directory}") from exc
    finally:
        if not failed:
            shutil.rmtree(directory, ignore_errors=True)


def _enter(aws: dict[str, str]) -> None:
    """Make this process, and those that it starts, see the embedded AWS and no other."""
    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        del os.environ[name]
    os.environ.update(aws)
    os.environ["CELERY_RESULT_BACKEND"] = RESULT_BACKEND
    os.environ["CELERY_WAIT_TIME_SECONDS"] = "2"  # a worker that stops waits for its last answer
    # A proxy does not know our ports.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
