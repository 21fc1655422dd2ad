"""A value that cannot be written: where it is, what it is, why, and what its publisher can do."""

import re
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any

from pipeline.claimcheck.codec.extensions import NESTING
from pipeline.errors import PayloadEncodeError

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}\Z", re.ASCII)
_SHOWN = 32


class Unwritable(Exception):  # noqa: N818 - it does not leave this package
    """Some part of a value cannot be written.

    Args:
        part: that part.
        why: what is wrong with it.
        remedy: what to do.
    """

    def __init__(self, part: Any, why: str, remedy: str) -> None:
        super().__init__(why)
        self.part = part
        self.why = why
        self.remedy = remedy
        self.steps: list[str] = []
        """Its path, innermost step first: each container on the way out adds one."""

    def error(self) -> PayloadEncodeError:
        """Return what the publisher is to read. It shows no value, and no key but a field's name."""
        steps = self.steps[::-1]
        path = "".join(steps[:_SHOWN]) + ("…" if len(steps) > _SHOWN else "")
        kind = f"{type(self.part).__module__}.{type(self.part).__qualname__}"
        return PayloadEncodeError(
            f"payload not serialisable [path={path or 'body'}, type={kind}]: {self.why}; {self.remedy}"
        )


def step(container: Any, position: int) -> str:
    """Return one step of a path. A key may be confidential: only what looks like a field's name is shown."""
    if not isinstance(container, dict):
        return f"[{position}]"
    key = list(container)[position]
    return f"[{key!r}]" if type(key) is str and _WORD.match(key) else f"[key {position}]"


def unwritable_in(value: Any, is_writable: Callable[[Any], bool], why: str, remedy: str) -> Unwritable:
    """Return the error for a value of which some part cannot be written: for the innermost such part."""
    steps: list[str] = []
    for _ in range(_SHOWN):
        children = _children(value)
        position = next((at for at, child in enumerate(children) if not is_writable(child)), None)
        if position is None:
            break
        steps.insert(0, step(value, position))
        value = children[position]
    found = Unwritable(value, why, remedy)
    found.steps = steps
    return found


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else []


def unknown(value: Any) -> Unwritable:
    """Return the error for a value of an unregistered type."""
    return Unwritable(value, "there is no codec for this type", _remedy(value))


def unequal(value: Any) -> Unwritable:
    """Return the error for a value that would arrive as another."""
    return Unwritable(value, "it would not come back equal", "convert it to a plain value")


def too_deep(value: Any) -> Unwritable:
    """Return the error for a value that nests too deep."""
    return Unwritable(value, f"it nests deeper than {NESTING} levels, or contains itself", "flatten it")


def _remedy(value: Any) -> str:
    register = "or register the type with kombu.utils.json.register_type"
    if hasattr(type(value), "model_dump"):
        return f"declare the task with pydantic=True and annotate the argument, {register}"
    if is_dataclass(value):
        return f"pass dataclasses.asdict(), {register}"
    if hasattr(type(value), "__attrs_attrs__"):
        return f"pass attrs.asdict(), {register}"
    return f"pass a plain value, {register}"
