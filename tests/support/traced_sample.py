"""A traced sample, its spans and its log lines."""

import json
import subprocess
import sys

from workers import APPS, eventually

ROWS = ["confidential"] * 10


class Traced:
    """A sample whose workers and producers are traced, each in a process of its own."""

    def __init__(self, sample, tmp_path, bucket):
        self.sample = sample
        self.bucket = bucket
        self._spans = tmp_path / "spans"
        self.said = []
        sample.environment["TRACED_SPANS"] = str(self._spans)

    def modes(self, *modes):
        self.sample.environment["TRACED"] = " ".join(modes)

    def worker(self, **options):
        return self.sample.worker(app="traced_app", **options)

    def call(self, name, *args, span="checkout", **options):
        """Call a task in a fresh process, and return its id."""
        what = json.dumps([f"sample_app.{name}", args, options, span])
        done = subprocess.run(
            [sys.executable, "-m", "traced_app", what],
            cwd=APPS,
            env=self.sample.environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        self.said += records(done.stderr)
        return done.stdout.split()[-1]

    def result(self, task_id):
        return self.sample.app.AsyncResult(task_id)

    def text(self):
        return self._spans.read_text() if self._spans.exists() else ""

    def spans(self):
        return [json.loads(line) for line in self.text().splitlines()]

    def span(self, name):
        """Wait for a span, and return the first of that name."""
        return eventually(
            lambda: next((span for span in self.spans() if span["name"] == name), None),
            30,
            f"no span {name}",
        )


def records(text):
    """Return the log lines that are JSON; Celery's banner is none."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
