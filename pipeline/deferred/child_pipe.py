"""Which attempts have given their payload to their retry, reported by the child process to main.

A retry with unchanged arguments publishes the claim of the attempt before it, and then the end of that
attempt must not release the payload. An attempt's outcome does not show it: a task may swallow the ``Retry``
and return, its child may be killed right after it published, and of a success only a text crosses the
pool's pipe. So it is noted on a pipe of our own, *before* the retry is sent, and read before anything is
released. Source: celery 5.7.0, ``app/task.py`` (``retry``), ``app/trace.py``.

The same pipe carries how long a task's payload took to rehydrate, which main reports to monitors. It also
carries whether a task waits for the store: if its time is up then, nothing of it has run.

No process waits for this pipe, whether it is empty or full. Eventlet replaces ``os.read`` and ``os.write`` by
functions that wait although the descriptor does not block, and leaves ``os.readv`` and ``os.writev`` alone.
Source: eventlet 0.41.3, ``green/os.py``.
"""

import os
import struct
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

MARK_BYTES = 16
_RECORD_BYTES = 1 + MARK_BYTES
_READ_BYTES = _RECORD_BYTES * 1_000
"""Whole records: each is written at once, so that a read never parts one (pipe(7), PIPE_BUF)."""

_NOTED, _WITHDRAWN, _TOOK, _WAITS, _GOES_ON = b"+", b"-", b"=", b"(", b")"
_SECONDS = struct.Struct("!f")

REMEMBERED = 10_000
"""How many ended attempts are remembered, in case their message is redelivered, and for how many tasks the
other reports are kept."""


def mark(task_id: str, attempt: int, key: str) -> bytes:
    """Return what stands for one attempt (0 is the first) and its payload: 16 bytes."""
    return _mark_of(f"{task_id} {attempt} {key}")


def member_mark(about: Mapping[str, Any], key: str) -> bytes:
    """Return what stands for one message of a task and a shared payload that it names: 16 bytes.

    A message that replaces a task has its id, and one level of nesting more.
    Source: celery 5.7.0, ``app/task.py`` (``replace``).

    Args:
        about: the message's headers, or the context that Celery makes of them.
        key: of the shared payload.
    """
    numbers = f"{about.get('retries') or 0} {about.get('replaced_task_nesting') or 0}"
    return _mark_of(f"{about.get('id')} {numbers} member {key}")


class Reuses:
    """The attempts of one worker that do not own their payload any more. Safe in threads and after a fork.

    Opened in the worker's main process before its pool exists. Forked children inherit the pipe; spawned
    ones join it by its name. Nothing can be noted where neither happened, as in a producer: there, a retry
    gets a payload of its own.
    """

    _folder: TemporaryDirectory[str] | None = None

    def __init__(self) -> None:
        self._reader = self._writer = self._pid = -1
        self._lock = threading.Lock()
        self._noted: set[bytes] = set()
        self._ended: dict[bytes, None] = {}
        self._took: dict[bytes, float] = {}
        self._waiting: dict[bytes, None] = {}

    def open(self) -> None:
        """Begin to take notes, in the worker's main process. Safe to call twice."""
        if sys.platform == "win32" or self._pid == os.getpid():
            return
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._pid = os.getpid()

    def open_named(self) -> str:
        """Begin to take notes, in the worker's main process, on a pipe that spawned children can join.

        Returns:
            The pipe's path, for :meth:`join`. Its directory is this user's alone, and goes with the process.
        """
        if self._folder is None:
            self._read()
            self.close()
            self._folder = TemporaryDirectory(prefix="claimcheck-")
            os.mkfifo(self._path, 0o600)
            self._reader = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
            self.join(self._path)
            self._pid = os.getpid()
        return self._path

    @property
    def _path(self) -> str:
        return str(Path(self._folder.name, "notes")) if self._folder else ""

    def join(self, path: str) -> None:
        """Write notes to the pipe that the main process has opened; run in a spawned child."""
        with suppress(OSError):  # the main process has ended
            self._writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)

    def close(self) -> None:
        """Take no more notes. Safe to call twice."""
        for descriptor in (self._reader, self._writer):
            if descriptor >= 0:
                os.close(descriptor)
        self._reader = self._writer = self._pid = -1
        if self._folder:
            self._folder.cleanup()
            self._folder = None

    def note(self, mark: bytes) -> bool:
        """Note, in the executing process, that a retry is about to take a payload over.

        Returns:
            Whether the main process will know. If not, the payload must not be published again.
        """
        return self._write(_NOTED + mark)

    def withdraw(self, mark: bytes) -> None:
        """Note, in the executing process, that the retry has certainly not been sent."""
        self._write(_WITHDRAWN + mark)

    def holds(self, mark: bytes) -> bool:
        """Say, in the main process and at an attempt's end, whether a retry has taken its payload over.

        What a process noted before it reported its task's outcome, or died, is known here.
        """
        with self._lock:
            self._read()
            if mark in self._noted:
                self._noted.remove(mark)
                _remember(self._ended, mark, None)
            return mark in self._ended

    def report_seconds(self, task_id: str, seconds: float) -> None:
        """Report to main, from the executing process, how long a task's payload took to rehydrate."""
        self._write(_TOOK + _short(task_id) + _SECONDS.pack(seconds))

    def seconds_of(self, task_id: str) -> float | None:
        """Return, in the main process and once, the seconds reported for a task, or ``None``."""
        with self._lock:
            self._read()
            return self._took.pop(_short(task_id), None)

    @contextmanager
    def waiting(self, task_id: str) -> Iterator[None]:
        """Report to main, from the executing process, that a task waits for the store and has not begun.

        It goes on after any ``Exception``, a soft time limit among them. Anything else kills it, as gevent's
        hard time limit does, and then it never has begun.
        """
        self._write(_WAITS + _mark_of(task_id))
        try:
            yield
        except Exception:
            self._write(_GOES_ON + _mark_of(task_id))
            raise
        self._write(_GOES_ON + _mark_of(task_id))

    def is_waiting(self, task_id: str) -> bool:
        """Return, in the main process, whether a task has reported that it waits for the store."""
        with self._lock:
            self._read()
            return _mark_of(task_id) in self._waiting

    def _write(self, record: bytes) -> bool:
        try:
            return os.writev(self._writer, [record]) == len(record)
        except OSError:  # not opened, or full: 3,800 records are unread
            return False

    def _read(self) -> None:
        while records := self._chunk():
            for start in range(0, len(records), _RECORD_BYTES):
                self._take(records[start : start + 1], records[start + 1 : start + _RECORD_BYTES])

    def _chunk(self) -> bytes:
        chunk = bytearray(_READ_BYTES)
        try:
            return bytes(chunk[: os.readv(self._reader, [chunk])])
        except OSError:  # empty, or not opened
            return b""

    def _take(self, kind: bytes, mark: bytes) -> None:
        if kind == _NOTED:
            self._noted.add(mark)
        elif kind == _TOOK:
            size = MARK_BYTES - _SECONDS.size
            _remember(self._took, mark[:size], *_SECONDS.unpack(mark[size:]))
        elif kind == _WAITS:
            _remember(self._waiting, mark, None)
        elif kind == _GOES_ON:
            self._waiting.pop(mark, None)
        else:
            self._noted.discard(mark)
            self._ended.pop(mark, None)


def _remember(known: dict[bytes, Any], mark: bytes, what: Any) -> None:
    """Keep a report, and drop the oldest: some reports are never read."""
    known[mark] = what
    if len(known) > REMEMBERED:
        del known[next(iter(known))]


def _mark_of(text: str, size_bytes: int = MARK_BYTES) -> bytes:
    return blake2b(text.encode(errors="surrogatepass"), digest_size=size_bytes).digest()


def _short(task_id: str) -> bytes:
    return _mark_of(task_id, MARK_BYTES - _SECONDS.size)


reuses = Reuses()
"""Those of this process. A forked child inherits them."""
