"""Validates a message before a task is made of it: its headers, content type and body.

Celery trusts headers. It reads some of them after it has taken a slot of the pool, and some in timers of the
event loop, where a value of the wrong type keeps the slot for good or ends the worker. So a worker checks
each of them first, and ``pipeline dlq show`` explains a message by the same check. Nothing here does I/O.
Source: celery 5.7.0, ``worker/request.py`` (``Request.__init__``, ``revoked``), ``worker/strategy.py``,
``concurrency/asynpool.py`` (``on_timeout_set``), ``app/task.py`` (``Context``).
"""

from collections.abc import Callable, Mapping
from functools import partial
from math import isfinite
from typing import Any, NamedTuple
from uuid import UUID

from celery.app.task import Context
from celery.utils.time import maybe_iso8601, maybe_make_aware

from pipeline.claimcheck.headers import id_text
from pipeline.deferred.body import deferred_in
from pipeline.serializer import serializer

_TASK = "task"
_NO_TASK = f"not a task: it has no header {_TASK!r}"

REPUBLISHED = "claimcheck-republished"
"""The header that counts how often a worker has published a message again."""


class _Rule(NamedTuple):
    """What Celery, or a worker of ours, expects of a header."""

    expected: str
    holds: Callable[[Any], bool]


def _is_count(value: Any) -> bool:
    return value is None or (isinstance(value, int) and value >= 0)


def _is_pair_of_seconds(value: Any) -> bool:
    """Say whether timers can take both: a huge int is no float, and NaN breaks the order of a heap."""
    return not value or (isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_seconds, value)))  # noqa: PLR2004


def _is_seconds(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and isfinite(value))


def _is_moment(value: Any) -> bool:
    if value is not None:
        maybe_make_aware(maybe_iso8601(value)).isoformat()
    return True


def _are_texts(value: Any) -> bool:
    return not value or (isinstance(value, list | tuple) and all(isinstance(each, str) for each in value))


def _are_signatures(value: Any, kinds: Any = dict) -> bool:
    return not value or (isinstance(value, list | tuple) and all(isinstance(each, kinds) for each in value))


def _is_id(value: Any) -> bool:
    return isinstance(value, str | UUID | bytes | int) and id_text(value) is not None


_TEXT = _Rule("text", lambda value: isinstance(value, str))
_OPTIONAL_TEXT = _Rule("text or null", lambda value: isinstance(value, str | None))
_ID = _Rule("text or a UUID", _is_id)
"""Publishers with this library write text. Without it, Celery sends whatever the caller passes as an id."""
_OPTIONAL_ID = _Rule("text, a UUID or null", lambda value: value is None or _is_id(value))
_COUNT = _Rule("a whole number or null", _is_count)
_MOMENT = _Rule("a time in ISO 8601 or null", _is_moment)
_MAP = _Rule("a map or null", lambda value: not value or isinstance(value, dict))
_SIGNATURES = _Rule("a list of signatures or null", _are_signatures)
_ERRBACKS = _Rule(
    "a list of signatures and names of tasks, or null", partial(_are_signatures, kinds=dict | str)
)

_IDS = ("id", "root_id", "parent_id", "group")

_RULES: Mapping[str, _Rule] = {
    _TASK: _TEXT,
    **dict.fromkeys(_IDS, _OPTIONAL_ID),
    "id": _ID,
    **dict.fromkeys(("shadow", "argsrepr", "kwargsrepr"), _OPTIONAL_TEXT),
    **dict.fromkeys(("retries", "group_index", REPUBLISHED), _COUNT),
    **dict.fromkeys(("eta", "expires"), _MOMENT),
    "timelimit": _Rule("two numbers of seconds or null", _is_pair_of_seconds),
    "stamped_headers": _Rule("a list of texts or null", _are_texts),
    **dict.fromkeys(("stamps", "chord"), _MAP),
    **dict.fromkeys(("callbacks", "chain"), _SIGNATURES),
    "errbacks": _ERRBACKS,
}
"""By name: headers, and what travels beside the arguments in the body."""

_HIDING = frozenset({"_children", *(name for name in dir(Context) if callable(getattr(Context, name)))})
"""Celery makes each header an attribute of ``Task.request``: these would replace its methods, and its list of
the tasks that a task has published."""


class Finding(NamedTuple):
    """What the validation of a message found."""

    fault: str
    """Why no task can be made of it, without any of its text; empty if one can be."""
    call: Any
    """Its body as Celery unpacks it, ``(args, kwargs, embed)``, or ``None`` if it is not one."""


def examine(message: Any) -> Finding:
    """Return whether a task can be made of a message, before Celery decodes it. In any process.

    Never raises, whatever the message. A body of ours that cannot be read is not a fault here: it becomes a
    recorded failure of its task.
    """
    try:
        return _examine(message)
    except Exception as exc:  # noqa: BLE001 - a message may hold anything
        return Finding(f"not decoded [content_type={message.content_type!r}]: {type(exc).__name__}", None)


def make_ids_texts(message: Any) -> None:
    """Make texts of the ids in a message without a fault, in either protocol: result backends read texts."""
    for fields in (message.headers, message.payload):
        if type(fields) is dict:
            found = {name: fields[name] for name in _IDS if _holds(_ID, fields.get(name))}
            fields.update({name: id_text(value) for name, value in found.items()})


def drop_hiding_headers(message: Any) -> None:
    """Drop what would hide parts of ``Task.request`` from a message without a fault, in either protocol.

    A task of Celery alone runs with some of these, and fails on retry or is lost with others. It cannot see
    them in ``self.request.headers``. Source: celery 5.7.0, ``app/task.py`` (``_get_custom_headers``).
    """
    body = message.payload
    embed = None if type(body) is dict else body[2]
    for fields in (message.headers, body, embed):
        if type(fields) is dict:
            for name in _HIDING & fields.keys():
                del fields[name]


def _examine(message: Any) -> Finding:
    if unread := getattr(message, "fault", ""):
        return Finding(f"not read: {unread}", None)
    if message.accept is not None and message.content_type not in message.accept:
        # Kombu decodes some types that nobody accepts, with any codec of Python's.
        said = f"not decoded [content_type={message.content_type!r}]: this app does not accept it"
        return Finding(said if _TASK in message.headers else _NO_TASK, None)
    if message.content_type == serializer.CONTENT_TYPE and not serializer.is_task(message.body):
        return Finding("not a task: the body is a single value, and is not decoded", None)
    body = message.payload
    if _TASK not in message.headers and not (type(body) is dict and _TASK in body):
        return Finding(_NO_TASK, None)
    call = _call(body)
    if call is None:
        return Finding("not a task: the body is not [args, kwargs, embed]", None)
    return Finding(_header_error(_fields(message.headers, body, call[2])), call)


def _call(body: Any) -> Any:
    """Return a decoded body as Celery unpacks it, ``(args, kwargs, embed)``, or ``None`` if it cannot be.

    Asks for its type, as to look into a value that is not here yet would be to read it.
    Source: celery 5.7.0, ``worker/strategy.py`` (``hybrid_to_proto2``, ``proto1_to_proto2``).
    """
    if type(body) is dict and ("args" in body or _TASK in body):  # of protocol 1
        body = (body.get("args", ()), body.get("kwargs", {}), {})
    if not issubclass(type(body), list | tuple) or len(body) != 3:  # noqa: PLR2004 - as the list above
        return None
    args, kwargs, embed = body
    if deferred_in(body) is not None:
        return body
    is_call = isinstance(args, list | tuple) and isinstance(kwargs, dict) and (not embed or _is_embed(embed))
    return body if is_call else None


def _is_embed(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) for name in value)


def _fields(headers: Mapping[str, Any], body: Any, embed: Any) -> Mapping[str, Any]:
    """Return all that Celery makes attributes of a request, each from where it takes it last."""
    return {**(body if type(body) is dict else {}), **headers, **(embed or {})}


def _header_error(fields: Mapping[str, Any]) -> str:
    for name, rule in _RULES.items():
        if not _holds(rule, fields.get(name)):
            return f"not a task: its header {name!r} is not {rule.expected}"
    return ""


def _holds(rule: _Rule, value: Any) -> bool:
    try:
        return rule.holds(value)
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        return False
