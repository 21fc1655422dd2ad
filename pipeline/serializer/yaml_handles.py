"""Handles in YAML: a map with a tag of ours, which Kombu's ``safe_dump`` writes and ``safe_load`` reads.

Kombu has imported PyYAML before, if it is installed. Source: kombu 5.7.0, ``serialization.py``,
``register_yaml``; PyYAML 6, ``SafeDumper`` and ``SafeLoader``.
"""

import sys
from typing import Any

from pipeline.claimcheck.handles.handle import MARKER, Handle, arrived
from pipeline.claimcheck.sharing import handle_written

TAG = f"!{MARKER}"


def register() -> None:
    """Let PyYAML's safe dumper and loader know handles, in this process. Safe to call twice."""
    yaml: Any = sys.modules.get("yaml")
    if yaml is not None:
        yaml.SafeDumper.add_multi_representer(Handle, _written)
        yaml.SafeLoader.add_constructor(TAG, _read)


def _written(dumper: Any, handle: Handle) -> Any:
    return dumper.represent_mapping(TAG, handle_written(handle))


def _read(loader: Any, node: Any) -> Handle:
    """Return the handle in a node. Never raises: what is malformed raises when it is used."""
    try:
        return arrived(loader.construct_mapping(node, deep=True))
    except Exception:  # noqa: BLE001 - a sender may have written anything
        return arrived(None)
