"""Worker processes of each queue: as many as wanted, each stopped gracefully."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

from tasks.demo import processes, worker_journal
from tasks.demo.processes import DemoError
from tasks.demo.scaling import waiting

APP = "tasks.app"


@dataclass(slots=True)
class Worker:
    """One worker process."""

    name: str
    queue: str
    process: "Popen[bytes]"
    is_stopping: bool = False


@dataclass(slots=True)
class Fleet:
    """All workers, those that have ended included."""

    directory: Path
    concurrency: int
    workers: list[Worker] = field(default_factory=list)

    def scale(self, queue: str, count: int) -> None:
        """Start workers, or tell the newest to stop, until so many are meant to run.

        Raises:
            DemoError: a worker has ended that nobody told to stop.
        """
        running = self.running(queue)
        for worker in running[count:]:
            worker.is_stopping = True
            worker.process.terminate()
        for _ in range(count - len(running)):
            name = f"{queue}-{1 + sum(each.queue == queue for each in self.workers)}"
            with processes.uninterrupted():
                process = processes.worker(
                    self.directory, APP, queue, name, self.concurrency, waiting.__name__
                )
                self.workers.append(Worker(name, queue, process))

    def running(self, queue: str) -> list[Worker]:
        """Return the workers that are starting or take messages, oldest first.

        Raises:
            DemoError: one of them has ended.
        """
        found = [each for each in self.workers if each.queue == queue and not each.is_stopping]
        for each in found:
            if each.process.poll() is not None:
                raise DemoError(f"the worker {each.name} ended with code {each.process.returncode}")
        return found

    def ready(self, queue: str) -> list[Worker]:
        """Return those that take messages."""
        ready = {
            line["worker"].partition("@")[0]
            for line in worker_journal.read(processes.journal_of(self.directory), worker_journal.READY)
        }
        return [each for each in self.running(queue) if each.name in ready]

    def stopping(self) -> list[Worker]:
        """Return those that were told to stop, and have not ended."""
        return [each for each in self.workers if each.is_stopping and each.process.poll() is None]


@contextmanager
def fleet(directory: Path, concurrency: int) -> Iterator[Fleet]:
    """Give a fleet, and end every worker of it."""
    made = Fleet(directory, concurrency)
    try:
        yield made
    finally:
        left = [each.process for each in made.workers if each.process.poll() is None]
        processes.stop(left, processes.INTERRUPTED_STOP_SECONDS)
