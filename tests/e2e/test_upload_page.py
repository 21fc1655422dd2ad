"""The upload page, in a real browser: files go into the bucket, their tasks run, the page shows the results.

``SCREENSHOTS=docs/images`` keeps a picture of the page.
"""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from workers import eventually

ROOT = Path(__file__).parents[2]
CONTENT = b"id,currency,amount,note\n1,EUR,2.50,a\n2,USD,1.25,b\n"
LARGE = b"id,currency,amount,note\n" + b"1,EUR,0.50,%s\n" % (b"x" * 1_000) * 20_000

pytestmark = [pytest.mark.aws, pytest.mark.worker]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo of the doors, kept: its address and its access token."""
    log = tmp_path_factory.mktemp("demo") / "said.txt"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "tasks.demo.doors", "--keep"], cwd=ROOT, stdout=said, stderr=said
        )
    pattern = re.compile(r"Page: (\S+)\nAccess token: (\S+)")
    found = eventually(lambda: pattern.search(log.read_text()), 90, log.read_text)
    yield found.groups()
    process.send_signal(signal.SIGINT)
    process.wait(60)


@pytest.fixture
def page(browser, demo):
    """The page, without a token in its field."""
    browser.get(demo[0])
    return browser


def choose(page, tmp_path, **files):
    """Choose files as a person does, and return their rows, the last one first."""
    paths = []
    for name, content in files.items():
        paths.append(tmp_path / f"{name}.csv")
        paths[-1].write_bytes(content)
    page.find_element(By.ID, "files").send_keys("\n".join(map(str, paths)))
    return page.find_elements(By.CSS_SELECTOR, "#uploads li")


def ended(page, count):
    """Return the texts of all rows once each of them has ended."""
    rows = page.find_elements(By.CSS_SELECTOR, "#uploads li.done, #uploads li.failed")
    return [row.text for row in rows] if len(rows) == count else None


def test_files_become_tasks(page, demo, tmp_path):
    """A small file, one in parts, and one that the task rejects: the page shows how each of them ended."""
    page.find_element(By.ID, "token").send_keys(demo[1])
    choose(page, tmp_path, small=CONTENT, large=LARGE, wrong=b"a,b\n")
    texts = eventually(lambda: ended(page, 3), 90, lambda: page.find_element(By.ID, "uploads").text)
    if directory := os.environ.get("SCREENSHOTS"):
        page.save_screenshot(str(Path(directory) / "upload-page.png"))

    said = {name: next(text for text in texts if name in text) for name in ("small", "large", "wrong")}
    assert '"EUR": "2.50"' in said["small"]
    assert '"EUR": "10000.00"' in said["large"]
    assert "failure: ValueError" in said["wrong"]
    link = page.find_element(By.XPATH, "//li[contains(., 'small.csv')]//a").get_attribute("href")
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == CONTENT


HOSTILE = "<img src=x onerror=document.title='owned'>"

SHOW = "const made = row({name: arguments[0], size: 1}); show(made.item, made.state, arguments[1]);"
"""Shows the end of a task."""


def test_no_script_comes_with_a_file(page, demo, tmp_path):
    """The name of a file and the result of its task are shown as text, whatever they are."""
    page.find_element(By.ID, "token").send_keys(demo[1])
    choose(page, tmp_path, **{HOSTILE: CONTENT})
    eventually(lambda: ended(page, 1), 60, lambda: page.find_element(By.ID, "uploads").text)
    page.execute_script(SHOW, HOSTILE, {"state": "SUCCESS", "result": {HOSTILE: [HOSTILE]}})
    page.execute_script(SHOW, HOSTILE, {"state": HOSTILE, "error": HOSTILE})

    assert page.find_element(By.ID, "uploads").text.lower().count(HOSTILE) == 7
    assert page.find_elements(By.CSS_SELECTOR, "#uploads img") == []
    assert page.title == "Upload a file"
    link = page.find_element(By.CSS_SELECTOR, "#uploads a").get_attribute("href")
    with urllib.request.urlopen(link) as answer:
        assert answer.headers["Content-Disposition"].startswith("attachment")


def test_a_keyboard_is_enough(page):
    """The token, the choice of files and the link are reached one after another, and are seen to be."""
    reached, outlines = [], []
    for _ in range(3):
        ActionChains(page).send_keys(Keys.TAB).perform()
        active = page.switch_to.active_element
        reached.append(active.get_attribute("id") or active.tag_name)
        outlines.append(page.find_element(By.ID, "drop").value_of_css_property("outline-style"))

    assert reached == ["token", "files", "a"]
    assert outlines == ["none", "solid", "none"]


@pytest.mark.parametrize("path", ["/", "/docs"])
@pytest.mark.parametrize("width", [240, 320])
def test_a_narrow_window(page, demo, path, width):
    """Nothing is wider than a small screen."""
    metrics = {"width": width, "height": 600, "deviceScaleFactor": 1, "mobile": False}
    page.get(demo[0] + path)
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    script = "const all = document.documentElement; return [all.scrollWidth, all.clientWidth]"
    wide, seen = page.execute_script(script)
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    assert seen <= width
    assert wide <= seen


def test_dark_screens(page):
    """Whoever prefers a dark screen gets one."""
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    found = page.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    assert found == "rgba(16, 22, 29, 1)"


def test_without_a_token_nothing_is_uploaded(page, tmp_path):
    """Without a token the page says so, and no request goes to the bucket."""
    choose(page, tmp_path, small=CONTENT)
    texts = eventually(lambda: ended(page, 1), 20, lambda: page.find_element(By.ID, "uploads").text)

    assert "no valid credentials" in texts[0]


def test_the_page_about_requests_names_each(page, demo):
    """The page of requests is made from the same table as the routes."""
    page.get(f"{demo[0]}/docs")
    text = page.find_element(By.TAG_NAME, "body").text

    for words in ("POST /uploads", "GET /claims/{key}/url", "GET /tasks/{task_id}", "sha256"):
        assert words in text
