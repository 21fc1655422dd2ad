"""The signatures that a task carries for later: callbacks, errbacks, the rest of its chain, its chord.

They travel beside the payload, because Celery reads them before the task runs, where an error would end
a worker. When they are themselves too big, their arguments are *detached*: these join the payload,
and the bare signatures travel with a number for ``args`` and ``kwargs``: their place among the detached
ones, and nothing that Celery could take for arguments. They are *attached* again when the payload is
rehydrated.

Source: celery 5.7.0, ``app/amqp.py`` (``as_task_v1``, ``as_task_v2``) and ``canvas.py`` (``Signature``).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_EMBED = frozenset({"callbacks", "errbacks", "chain", "chord"})
_PROTOCOL_1 = frozenset({"task", "id", "callbacks", "errbacks", "chord"})

_COMPOSITES = {"chain": ("tasks",), "group": ("tasks",), "chord": ("header", "body")}
"""Where composite signatures keep others, among their ``kwargs``."""


def detach(embed: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """Return a copy of ``embed`` with bare signatures, and their ``[args, kwargs]`` in order.

    In protocol 1 none are detached: there Celery's worker copies the signatures before the payload is read.
    """
    if is_protocol_1(embed):
        return embed, []
    bare = _copy(embed)
    links = []
    for signature in leaf_signatures(bare):
        links.append([signature["args"], signature["kwargs"]])
        signature["args"] = signature["kwargs"] = len(links)
    return bare, links


def attach(embed: dict[str, Any], links: Sequence[Any]) -> None:
    """Give the bare signatures in ``embed`` their arguments back, in place.

    Raises:
        IndexError, TypeError, ValueError: ``links`` are not what was detached.
    """
    for signature in filter(_is_bare, leaf_signatures(embed)):
        args, kwargs = links[signature["args"] - 1]
        signature.update(args=args, kwargs=kwargs)


def is_bare(embed: dict[str, Any]) -> bool:
    """Say whether any signature in ``embed`` waits for its arguments."""
    return any(map(_is_bare, leaf_signatures(embed)))


def is_embed(value: Any) -> bool:
    """Say whether a value is what a task carries for later."""
    return isinstance(value, Mapping) and (value.keys() == _EMBED or is_protocol_1(value))


def is_protocol_1(value: Mapping[str, Any]) -> bool:
    """Say whether a value describes a task of Celery's message protocol 1, whose body is one map."""
    return value.keys() >= _PROTOCOL_1


def _is_bare(signature: dict[str, Any]) -> bool:
    return isinstance(signature["args"], int)


def leaf_signatures(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the signatures that are one task each, depth first, in a fixed order; skip what is none."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from leaf_signatures(item)
    elif is_signature(value):
        nested = _nested(value)
        if nested is None:
            yield value
        else:
            for name in nested:
                yield from leaf_signatures(_map(value["kwargs"]).get(name))
        yield from leaf_signatures(list(_map(value["options"]).values()))
    elif isinstance(value, dict):
        yield from leaf_signatures(list(value.values()))


def _nested(signature: dict[str, Any]) -> tuple[str, ...] | None:
    kind = signature.get("subtask_type")
    return _COMPOSITES.get(kind) if isinstance(kind, str) else None


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _copy(value: Any) -> Any:
    """Copy the containers between signatures, and share the arguments inside them."""
    if isinstance(value, (list, tuple)):
        return [_copy(item) for item in value]
    if not isinstance(value, dict):
        return value
    copied = dict(value)
    if is_signature(value):
        if _nested(value) is not None:
            copied["kwargs"] = {name: _copy(item) for name, item in value["kwargs"].items()}
        copied["options"] = _copy(value.get("options") or {})
        return copied
    return {name: _copy(item) for name, item in copied.items()}


def is_signature(value: Any) -> bool:
    """Say whether a value is a signature, or one that has become a plain dict."""
    return isinstance(value, dict) and {"task", "args", "kwargs", "options"} <= value.keys()
