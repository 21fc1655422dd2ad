"""What ``pip install .`` installs, and what ``make dist`` builds."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")))
    with zipfile.ZipFile(wheel) as opened:
        yield opened


def test_the_wheel_holds_the_library_alone(archive):
    """The wheel has ``pipeline``, what Kombu and pytest load, and metadata: nothing else."""
    names = archive.namelist()

    assert {name.split("/")[0].split("-")[0] for name in names} == {
        "pipeline",
        "celery_claimcheck_entry_point.py",
        "celery_claimcheck_pytest.py",
        "celery_claimcheck_pipeline",
    }
    assert "pipeline/py.typed" in names


def test_kombu_finds_the_serializer_by_its_entry_point(archive):
    """The entry point that registers the serializer is in the wheel's metadata."""
    (entry_points,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
    text = archive.read(entry_points).decode()

    assert "[kombu.serializers]\nclaimcheck = celery_claimcheck_entry_point:registration" in text


def copy_of_the_repository(root, mode, modified):
    """Copy what git knows, with other permissions and times."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    for name in listed.stdout.split("\0")[:-1]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, path)
        path.chmod(mode)
        os.utime(path, (modified, modified))
    return root


def build(root, zone, umask):
    words = [sys.executable, "-m", "build", "--no-isolation", "--outdir", root / "dist"]
    env = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000", "TZ": zone}
    return subprocess.Popen(words, cwd=root, env=env, umask=umask, stdout=subprocess.DEVNULL)


def test_archives_are_reproducible(tmp_path):
    """Wheel and source archive have the same bytes whatever folder, umask, file times and time zone."""
    first = copy_of_the_repository(tmp_path / "first", 0o600, 1_000_000_000)
    other = copy_of_the_repository(tmp_path / "elsewhere" / "other", 0o664, 1_500_000_000)
    builds = [build(first, "UTC", 0o077), build(other, "Asia/Tokyo", 0o002)]

    assert [process.wait(timeout=60) for process in builds] == [0, 0]
    made = {path.name: path.read_bytes() for path in (first / "dist").iterdir()}
    assert made == {path.name: path.read_bytes() for path in (other / "dist").iterdir()}
    assert len(made) == 2
