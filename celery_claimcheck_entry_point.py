"""What Kombu loads of this library: the serializer's registration, under a module name that is ours alone.

Kombu loads the entry points of the group ``kombu.serializers`` while ``kombu.serialization`` is imported, in
every process of an environment that has this library installed. An error would break Kombu there, so this
module never raises. ``pipeline`` is a common name: where it is another module, that one is not imported.
Source: kombu 5.7.0, ``serialization.py``, last lines.
"""

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

NOTHING = (None, None, "application/x-claimcheck", "binary")
"""Registers a name without encoder and decoder: Kombu raises ``SerializerNotInstalled`` for who uses it."""


class _NotOursError(Exception):
    """The module ``pipeline`` of this process is not this library."""


def _load() -> tuple[Any, ...]:
    """Return the arguments of Kombu's ``register``, after the name. Never raises; warns once instead."""
    try:
        check_name()
        from pipeline.serializer.entry_point import register  # noqa: PLC0415 - only now is it known to be ours

        return register()
    except Exception as exc:  # noqa: BLE001 - nothing that is wrong with us may break Kombu
        logging.getLogger(__name__).warning("celery-claimcheck-pipeline is not usable here: %s", _why(exc))
        return NOTHING


def check_name() -> None:
    """Raise if ``pipeline`` is another module of this process: then it is not imported."""
    spec = find_spec("pipeline")
    origin = Path((spec.origin if spec else None) or "nowhere").resolve()
    if origin.parent != HERE / "pipeline":
        raise _NotOursError(f"'pipeline' is {origin}, another module; rename that module to use the library")


def _why(exc: Exception) -> str:
    return str(exc) if isinstance(exc, _NotOursError) else f"{type(exc).__name__}: {exc}"


registration = _load()
