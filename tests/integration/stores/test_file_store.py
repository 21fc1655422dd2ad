"""The store in a directory keeps the rules of every store, and never leaves its directory."""

import errno
import os

import pytest
from store_rules import METADATA, RangeRules

from pipeline.errors import (
    PayloadMissingError,
    StoreDeniedError,
    StoreUnavailableError,
)
from pipeline.stores.file.store import FileStore
from pipeline.stores.file.store import _translated as file_errors


class TestFile(RangeRules):
    """The store in a directory."""

    @pytest.fixture
    def store(self, tmp_path):
        return FileStore(tmp_path / "payloads", "/app/")

    @pytest.mark.parametrize(
        "key", ["", "/etc/passwd", "../a", "app/../../a", "app/./a", "app//a", "a\0b", "app/", ".incoming/a"]
    )
    def test_no_key_leads_out(self, store, key):
        """Every verb declines a key that is no plain path below the directory."""
        with pytest.raises(StoreDeniedError, match="rejected this key"):
            store.put(key, b"x", METADATA)
        with pytest.raises(StoreDeniedError, match="rejected this key"):
            store.get(key, 1)
        assert list(store.delete([key])) == [key]

    def test_no_link_leads_out(self, store, tmp_path):
        """A symbolic link in the directory is not followed out of it, nor listed."""
        store.put("app/a", b"x", METADATA)
        (tmp_path / "secret").write_bytes(b"secret")
        (tmp_path / "payloads" / "app" / "out").symlink_to(tmp_path)

        with pytest.raises(StoreDeniedError, match="rejected this key"):
            store.get("app/out/secret", 6)
        assert [found.key for found in store.list()] == ["app/a"]

    def test_a_directory_is_no_payload(self, store):
        """A key that ends at a directory, or goes on past a payload, is missing; and cannot be put."""
        store.put("app/a/b", b"x", METADATA)

        for key in ("app/a", "app/a/b/c"):
            with pytest.raises(PayloadMissingError):
                store.get(key, 1)
            with pytest.raises(StoreDeniedError):
                store.put(key, b"x", METADATA)
            assert store.delete([key]) == {}

    def test_a_failed_put_leaves_nothing(self, store, tmp_path):
        """A put that fails leaves no temporary file."""
        store.put("app/a", b"x", METADATA)
        with pytest.raises(StoreDeniedError):
            store.put("app/a", b"y", METADATA)

        assert list((tmp_path / "payloads" / ".incoming").iterdir()) == []

    @pytest.mark.parametrize(
        ("number", "error"),
        [
            (errno.ENOSPC, StoreUnavailableError),
            (errno.EIO, StoreUnavailableError),
            (errno.EMFILE, StoreUnavailableError),
            (errno.EACCES, StoreDeniedError),
            (errno.EROFS, StoreDeniedError),
            (errno.ENAMETOOLONG, StoreDeniedError),
        ],
    )
    def test_what_the_file_system_says(self, number, error):
        """A full or broken disk is a retryable error; a denied permission is not."""
        with pytest.raises(error, match=r"\[key=app/a\]: .* \(/x\); ") as caught, file_errors("app/a"):
            raise OSError(number, os.strerror(number), "/x")

        assert isinstance(caught.value.__cause__, OSError)

    def test_a_directory_that_cannot_be(self, tmp_path):
        """A directory that cannot be made is found out at the first put."""
        (tmp_path / "taken").write_bytes(b"")

        with pytest.raises(StoreDeniedError, match=r"app/a.*taken"):
            FileStore(tmp_path / "taken").put("app/a", b"x", METADATA)

    def test_list_passes_over_what_goes(self, store):
        """A payload that is deleted while it is listed is not shown, and stops nothing."""
        for key in ("app/a", "app/b", "app/c"):
            store.put(key, b"x", METADATA)

        found = store.list()
        assert next(found).key == "app/a"
        store.delete(["app/b"])
        assert [each.key for each in found] == ["app/c"]

    def test_empty_directory(self, tmp_path):
        """A directory that does not exist lists nothing."""
        assert list(FileStore(tmp_path / "none").list()) == []
