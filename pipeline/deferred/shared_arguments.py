"""Shared values among a task's arguments: found, read, and put back where a retry names them again.

They are found at any depth of lists, tuples and dicts, but not in signatures: the tasks of those are members
by themselves, once they are published.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.claimcheck import sharing
from pipeline.claimcheck.claim import Share
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.handles.handle import Handle
from pipeline.claimcheck.sharing import Shared
from pipeline.deferred.signatures import is_signature, leaf_signatures
from pipeline.errors import PayloadEncodeError


def handles_in(value: Any) -> list[Handle]:
    """Return the handles among arguments, those of shared values too, in order.

    Raises:
        PayloadEncodeError: a shared value is where no task would get it.
    """
    return [each.handle if isinstance(each, Shared) else each for each in _found_in(value)]


def has_shared(value: Any) -> bool:
    """Say whether a shared value is among arguments."""
    return any(isinstance(each, Shared) for each in _found_in(value))


def _found_in(value: Any) -> list[Shared | Handle]:
    found: list[Shared | Handle] = []

    def note(each: Any) -> Any:
        if isinstance(each, (Shared, Handle)):
            found.append(each)
        elif isinstance(each, (dict, set, frozenset)):
            found.extend(_handles_hidden_in(each))
        return each

    _mapped(value, note)
    return found


def _handles_hidden_in(container: Any) -> list[Shared | Handle]:
    """Return the handles among the keys of a dict, or in a set, where values have no place."""
    parts = [each for each in container if not isinstance(each, (str, int))]
    hidden = _found_in(parts) if parts else []
    if any(isinstance(each, Shared) for each in hidden):
        raise PayloadEncodeError(
            "shared value not sent: it is a key of a dict, or in a set; pass it in a list, or pass its handle"
        )
    return hidden


def shares_of(task_id: str, embed: Mapping[str, Any]) -> tuple[Share, ...]:
    """Return what is shared among the arguments of the signatures that will be published as ``task_id``."""
    own = [each for each in leaf_signatures(embed) if isinstance(each["options"], dict)]
    calls = [[each["args"], each["kwargs"]] for each in own if each["options"].get("task_id") == task_id]
    return sharing.shares_of(handles_in(calls))


class SharedArguments:
    """The shared values that one delivery has read, each once.

    Args:
        claimcheck: reads them.
        queue: of the task, for metrics and spans.
        task: its name.
    """

    def __init__(self, claimcheck: ClaimCheck, queue: str = "", task: str = "") -> None:
        self._claimcheck = claimcheck
        self._labels = queue, task
        self._values: dict[Shared, Any] = {}

    def read(self, value: Any) -> Any:
        """Return arguments with shared values in place of what stands for them.

        Raises:
            PipelineError: one cannot be read.
        """
        return _mapped(value, self._value)

    def _value(self, each: Any) -> Any:
        if not isinstance(each, Shared):
            return each
        if each not in self._values:
            self._values[each] = sharing.read(self._claimcheck, each.handle, *self._labels)
        return self._values[each]

    def named(self, value: Any) -> Any:
        """Return arguments with what stands for shared values in place of those that are unchanged."""
        names = {id(read): shared for shared, read in self._values.items() if self._is_same(read, shared)}
        return _mapped(value, lambda each: names.get(id(each), each)) if names else value

    def _is_same(self, value: Any, shared: Shared) -> bool:
        return sharing.is_same(self._claimcheck, value, shared.handle)


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a value with each part changed; a list or dict without changes is itself, others are copies.

    One call for each level, and no other function between: Python's recursion limit counts them.
    """
    changed = change(value)
    if changed is not value or not isinstance(value, (list, tuple, dict)) or is_signature(value):
        return changed
    parts = value.values() if isinstance(value, dict) else value
    mapped, is_same = [], True
    for part in parts:
        mapped.append(_mapped(part, change))
        is_same = is_same and mapped[-1] is part
    if is_same:
        return value
    return dict(zip(value, mapped, strict=True)) if isinstance(value, dict) else mapped
