"""What ``pip install .`` installs."""

import zipfile
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]


def test_the_wheel_holds_the_library_alone(tmp_path):
    """The wheel has ``pipeline``, what Kombu and pytest load, and metadata: nothing else."""
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path))
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()

    assert {name.split("/")[0].split("-")[0] for name in names} == {
        "pipeline",
        "celery_claimcheck_entry_point.py",
        "celery_claimcheck_pytest.py",
        "celery_claimcheck_pipeline",
    }
    assert "pipeline/py.typed" in names


def test_kombu_finds_the_serializer_by_its_entry_point(tmp_path):
    """The entry point that registers the serializer is in the wheel's metadata."""
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path))
    with zipfile.ZipFile(wheel) as archive:
        (entry_points,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        text = archive.read(entry_points).decode()

    assert "[kombu.serializers]\nclaimcheck = celery_claimcheck_entry_point:registration" in text
