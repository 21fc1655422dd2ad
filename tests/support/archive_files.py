"""Archives that tests make, and what tests read of a result."""

import io
import tarfile
import warnings
import zipfile

import pytest

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
FILES = {"letters/a.txt": "från Malmö\n".encode(), "scan.png": PNG, "empty": b""}


def zipped(files, method=zipfile.ZIP_DEFLATED):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", method) as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # two files may have one name
        for name, content in files.items() if isinstance(files, dict) else files:
            opened.writestr(name, content)
    return archive.getvalue()


def tarred(files, mode="w"):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode=mode) as opened:
        for name, content in files.items() if isinstance(files, dict) else files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return archive.getvalue()


def gzipped(files):
    return tarred(files, "w:gz")


def tarred_entry(name, kind, **attributes):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as opened:
        info = tarfile.TarInfo(name)
        info.type = kind
        for attribute, value in attributes.items():
            setattr(info, attribute, value)
        opened.addfile(info)
    return archive.getvalue()


def names(result):
    return [member["name"] for member in result["members"]]


def reasons(result):
    return {rejection["name"]: rejection["reason"] for rejection in result["rejected"]["first"]}


every_format = pytest.mark.parametrize("pack", [zipped, tarred, gzipped])
