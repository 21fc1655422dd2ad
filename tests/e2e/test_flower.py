"""Flower over SQS and SNS, in a real browser: workers, tasks, queues, buttons, metrics, and no payload text.

``SCREENSHOTS=docs/images`` keeps pictures of the pages.
"""

import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

import pytest
from sample_fixtures import entered
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from workers import APPS, eventually

from pipeline.local import free_port

pytestmark = [pytest.mark.aws, pytest.mark.worker]

SECRET = "confidential"
USER = "flower:secret"


class Flower:
    """A running Flower, looked at in a browser."""

    def __init__(self, sample, browser, log):
        self.port, self.browser, self.log = free_port(), browser, log
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "pipeline", "-A", "sample_app", "flower", f"--port={self.port}"]
        environment = {**sample.environment, "FLOWER_BASIC_AUTH": USER}
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                command, cwd=APPS, env=environment, stdout=file, stderr=subprocess.STDOUT
            )
        eventually(self._answers, 60, "Flower did not start")

    def _answers(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.get("/metrics")
        except OSError:
            return None

    def get(self, path, user=USER):
        """Return a page's text, without a browser."""
        request = urllib.request.Request(self.url + path)
        if user:
            request.add_header("Authorization", f"Basic {b64encode(user.encode()).decode()}")
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read().decode()

    def text(self, path):
        """Return what the browser shows of a page."""
        self.browser.get(f"http://{USER}@127.0.0.1:{self.port}{path}")
        return self.browser.find_element(By.TAG_NAME, "body").text

    def shows(self, path, *words, seconds=40):
        """Wait until a page shows all words, keep a picture of it, and return its text."""
        shown = eventually(lambda: _all_in(words, self.text(path)), seconds, f"{path}: {self.text(path)}")
        if directory := os.environ.get("SCREENSHOTS"):
            name = path.strip("/").split("/")[0] or "workers"
            self.browser.save_screenshot(str(Path(directory) / f"flower-{name}.png"))
        return shown

    def press(self, path, button, tab=None, value=None):
        """Click a button by its id: after its tab, and with a number in the field before it."""
        self.text("/")  # the browser remembers the password; a page whose URL has it may ask for nothing
        self.browser.get(self.url + path)
        if tab is not None:
            self.browser.find_element(By.ID, tab).click()
        pressed = self.browser.find_element(By.ID, button)
        if value is not None:
            pressed.find_element(By.XPATH, "preceding-sibling::input").send_keys(value)
        WebDriverWait(self.browser, 20).until(lambda _: pressed.is_displayed())
        pressed.click()
        WebDriverWait(self.browser, 20).until(
            lambda page: page.find_elements(By.CLASS_NAME, "text-bg-success")
        )

    def stop(self):
        """End it as an operator would."""
        self.process.terminate()
        self.process.wait(20)


def _all_in(words, text):
    return text if all(word in text for word in words) else None


@pytest.fixture
def flower(sample_of, ministack, monkeypatch, browser, tmp_path):
    """Flower beside a worker that sends events, on a stand-in for SQS and SNS."""
    aws = entered(ministack, monkeypatch)
    conf = {
        "worker_enable_remote_control": True,
        "worker_send_task_events": True,
        "worker_prefetch_multiplier": 4,
    }
    sample = sample_of(store=f"s3://{aws.bucket()}/claims", options={"threshold_bytes": 20_000}, conf=conf)
    running = Flower(sample, browser, tmp_path / "flower.log")
    running.sample, running.aws = sample, aws
    running.worker = sample.worker(pool="prefork", options=("-E",))
    yield running
    running.stop()


def test_nobody_gets_in_without_a_password(flower):
    """Flower shuts workers down on request: without a password it shows nothing."""
    for user in (None, "flower:wrong"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            flower.get("/workers", user)


def test_a_password_is_made_up(sample_of, moto_aws):
    """Where none is given, or an empty one, Flower says which it has made up."""
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims")
    command = [sys.executable, "-u", "-m", "pipeline", "-A", "sample_app", "flower", f"--port={free_port()}"]
    environment = {**sample.environment, "FLOWER_BASIC_AUTH": ""}
    with subprocess.Popen(command, cwd=APPS, env=environment, stdout=subprocess.PIPE, text=True) as process:
        said = process.stdout.readline()
        process.terminate()

    assert said.startswith("Flower: user flower, password ")


def test_flower_shows_workers_tasks_and_queues(flower):
    """A worker is online, tasks show size and place in place of arguments, and queues have lengths."""
    sample = flower.sample
    flower.shows("/workers", "celery@", "Online")  # so it hears events
    big = sample.digest.delay(SECRET + os.urandom(50_000).hex())
    small = sample.digest.delay(SECRET)
    failed = sample.fail.delay(SECRET)
    assert big.get(timeout=60)
    assert small.get(timeout=60)

    assert "FAILURE" in flower.shows(f"/task/{failed.id}", "FAILURE")
    inline = flower.shows(f"/task/{small.id}", "SUCCESS", "args and kwargs: ", "bytes inline", "see args")
    offloaded = flower.shows(f"/task/{big.id}", "SUCCESS", "KiB in claims/v1/", "rehydrated in", "see args")
    assert SECRET not in offloaded + inline
    assert "rehydrated" not in inline
    flower.shows("/tasks", "sample_app.digest")
    queue = sample.queue
    flower.shows("/broker", queue)
    assert queue in flower.get("/api/queues/length")
    metrics = flower.get("/metrics")
    assert re.search(
        r'flower_events_total\{task="sample_app.digest",type="task-succeeded",[^}]+\} 2.0', metrics
    )
    assert re.search(r"flower_worker_online\{[^}]+\} 1.0", metrics)
    assert SECRET not in flower.get("/api/tasks")


def test_arguments_of_waiting_tasks_are_not_shown(flower):
    """Workers tell the arguments of waiting tasks that travelled inline; Flower's page does not show them."""
    name = eventually(lambda: _worker_name(flower), 40, "no worker is known")
    for _ in range(4):
        flower.sample.nap.delay(SECRET, 10)
    page = eventually(lambda: _all_in(["&lt;not shown&gt;"], flower.get(f"/worker/{name}")), 20)
    everything = flower.get(f"/api/workers?refresh=true&workername={name}")

    assert "sample_app.nap" in everything
    assert SECRET not in page + everything


def test_its_buttons_work(flower):
    """Growing a pool, limiting, terminating and shutting down in the browser do what they do over Redis."""
    worker, sample = flower.worker, flower.sample
    page = f"/worker/{eventually(lambda: _worker_name(flower), 40, 'no worker is known')}"
    before = len(worker.children())
    flower.shows(page, "Pool")
    flower.press(page, "worker-pool-grow")
    eventually(lambda: len(worker.children()) == before + 1, 40)
    flower.press(page, "task-rate-limit-sample_app.echo", tab="worker-tab-limits", value="7")
    eventually(lambda: "New rate limit for tasks of type sample_app.echo: 7" in worker.text(), 40)
    result = sample.nap.delay("x", 60)
    eventually(sample.notes)
    flower.shows(f"/task/{result.id}", "STARTED")
    flower.press(f"/task/{result.id}", "task-terminate")
    eventually(lambda: result.state == "REVOKED", 40)
    flower.press(page, "worker-shutdown", tab="worker-group")
    eventually(lambda: worker.process.poll() is not None, 40)


def _worker_name(flower):
    text = flower.get("/api/workers?refresh=true")
    return next((word for word in text.split('"') if word.startswith("celery@")), None)
