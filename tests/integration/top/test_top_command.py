"""``pipeline top`` as a process: on a terminal and without one, until Ctrl-C.

``SCREENSHOTS=docs/images`` keeps a picture of the terminal.
"""

import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text
from workers import APPS

pytestmark = pytest.mark.aws


@contextmanager
def started(sample, *words, term="xterm", **options):
    """Run the command as a process of its own."""
    command = [sys.executable, "-m", "pipeline", "-A", "sample_app", "top", *words]
    process = subprocess.Popen(
        command, cwd=APPS, env={**sample.environment, **os.environ, "TERM": term}, **options
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.mark.worker
def test_it_goes_on_until_ctrl_c(sample, queue):
    """An object a line at each interval, in order of time; Ctrl-C ends it quietly, with 0."""
    with started(
        sample, "--json", "--interval", "1", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        said = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)

    assert (process.returncode, errors) == (0, "")
    assert said[0]["up_seconds"] < said[1]["up_seconds"] < said[2]["up_seconds"]
    assert said[2]["queues"][0]["change_per_second"] == 0
    assert said[2]["sqs_calls"] > said[0]["sqs_calls"]


@pytest.mark.worker
def test_an_sqs_that_never_answers_does_not_block_the_view(sample, queue, proxy):
    """A hanging request blocks neither the view, which reports it, nor Ctrl-C."""
    proxy.delay(20, "ListQueues")
    with started(
        sample, "--interval", "1", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        shown = [process.stdout.readline() for _ in range(8)]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)

    assert "queues: SQS has not answered yet\n" in shown
    assert (process.returncode, errors) == (0, "")


def keep_picture(shown, path):
    """Write the last picture that a terminal of 80 columns was given."""
    last = [picture for picture in shown.split("\x1b[H") if "total" in picture][-1]
    console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(last.partition("\x1b[?")[0].replace("\r", "")))
    drawn = console.export_svg(title="pipeline -A sample_app top", unique_id="top")
    path.write_text(re.sub(r"@font-face \{.*?\}\n", "", drawn, flags=re.DOTALL))  # fonts of another site


@pytest.mark.worker
def test_a_terminal_is_drawn_in_place(sample, queue):
    """On a terminal of 80 columns the picture is drawn over itself, and the screen is given back."""
    sample.digest.delay(1)
    terminal, end = pty.openpty()
    ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    shown = _watched(sample, terminal, end, 3)
    if directory := os.environ.get("SCREENSHOTS"):
        keep_picture(shown, Path(directory) / "top.svg")

    assert queue in shown
    assert shown.index("\x1b[?1049h") < shown.index("throughput") < shown.index("\x1b[?1049l")
    assert "Traceback" not in shown


@pytest.mark.worker
def test_a_terminal_that_cannot_be_drawn_on_is_printed_to(sample, queue):
    """With TERM=dumb a picture is printed at each interval, as without a terminal."""
    terminal, end = pty.openpty()
    shown = _watched(sample, terminal, end, 2, term="dumb")

    assert queue in shown
    assert "\x1b" not in shown


def _watched(sample, terminal, end, pictures, **options):
    """Return a terminal's output until so many pictures are shown and Ctrl-C has ended the command."""
    with started(sample, "--interval", "1", stdin=end, stdout=end, stderr=end, **options) as process:
        os.close(end)
        shown = _read_until(terminal, lambda text: text.count("throughput") >= pictures)
        process.send_signal(signal.SIGINT)
        shown += _read_until(terminal, lambda _: False)
        process.wait(60)

    assert process.returncode == 0
    return shown


def _read_until(terminal, condition):
    text = ""
    while not condition(text):
        ready, _, _ = select.select([terminal], [], [], 60)
        try:
            read = os.read(terminal, 65_536) if ready else b""
        except OSError:  # the other end is closed
            read = b""
        if not read:
            break
        text += read.decode(errors="replace")
    return text
