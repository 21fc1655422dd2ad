"""A recorder in forked children, in programs that end, and in greenlets."""

import pytest
from programs import printed_by


def run_python(source):
    """Run a program in which every warning is an error, and return its words."""
    return printed_by(source, "-W", "error").split()


FORKING = """
    import os, threading, time
    from pipeline.metrics.recorder import Recorder
    from pipeline.metrics.table import PAYLOAD_BYTES, TASKS_FAILED

    class PrintSink:
        def emit(self, batch):
            who = "child" if os.getpid() != parent else "parent"
            for series in batch:
                total = sum(value * count for value, count in series.values.items())
                os.write(1, f"{who}:{series.metric.name}={total:.0f}\\n".encode())

    parent = os.getpid()
    recorder = Recorder(PrintSink())
"""


def test_a_forked_child_starts_empty():
    """The parent's numbers are emitted by the parent alone, the child's by its own thread."""
    printed = run_python(
        FORKING
        + """
    recorder.record(PAYLOAD_BYTES, 7)
    child = os.fork()
    if not child:
        recorder.record(TASKS_FAILED)
        recorder.flush()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    """
    )

    assert sorted(printed) == ["child:TasksFailed=1", "parent:PayloadBytes=7"]


def test_no_lock_is_taken_over_a_fork():
    """Children forked while other threads record and emit can record themselves."""
    printed = run_python(
        FORKING
        + """
    recorder = Recorder(PrintSink(), interval_seconds=0.001)
    def work():
        while True:
            recorder.record(PAYLOAD_BYTES, 0)
    for _ in range(4):
        threading.Thread(target=work, daemon=True).start()
    for _ in range(50):
        child = os.fork()
        if not child:
            recorder.record(TASKS_FAILED)
            recorder.flush()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    os._exit(0)
    """
    )

    assert printed.count("child:TasksFailed=1") == 50
    assert not [line for line in printed if line.startswith("child:Payload")]


def test_a_producer_emits_as_it_exits():
    """A program that only records has its numbers emitted when it ends."""
    assert run_python(FORKING + "    recorder.record(TASKS_FAILED)") == ["parent:TasksFailed=1"]


@pytest.mark.parametrize(
    "patch",
    ["from gevent import monkey; monkey.patch_all()", "import eventlet; eventlet.monkey_patch()"],
    ids=["gevent", "eventlet"],
)
def test_works_in_greenlets(patch):
    """Greenlets record and emit as threads do, and a flush does not block the others."""
    printed = printed_by(
        f"    {patch}"
        + FORKING
        + """
    jobs = [threading.Thread(target=recorder.record, args=(PAYLOAD_BYTES, 2)) for _ in range(10)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    recorder.flush()
    recorder.record(TASKS_FAILED)
    """
    )

    assert printed.split() == ["parent:PayloadBytes=20", "parent:TasksFailed=1"]
