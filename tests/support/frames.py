"""What an error tracker sees of an exception: the ``repr`` of each local variable of each frame.

As Sentry's SDK does it: the exception, its causes and contexts, and of containers their items.
"""

from pathlib import Path

import pipeline

OURS = str(Path(pipeline.__file__).parent)
DEPTH = 5


def chain(exc):
    """Yield an exception and all that led to it."""
    found, waiting = [], [exc]
    while waiting:
        each = waiting.pop()
        if each is not None and not any(each is known for known in found):
            found.append(each)
            waiting += [each.__cause__, each.__context__]
    return found


def frames(exc, within=""):
    """Yield where each frame of a chain of exceptions is, and its locals; of those within a folder."""
    for each in chain(exc):
        trace = each.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            if code.co_filename.startswith(within):
                yield f"{code.co_filename}:{code.co_name}", dict(trace.tb_frame.f_locals)
            trace = trace.tb_next


def shown(value, depth=DEPTH):
    """Return what a tracker shows of a value."""
    try:
        if depth and isinstance(value, dict):
            return " ".join(f"{shown(key, 0)}={shown(each, depth - 1)}" for key, each in value.items())
        if depth and isinstance(value, list | tuple | set):
            return " ".join(shown(each, depth - 1) for each in value)
        return repr(value)
    except Exception as exc:  # noqa: BLE001 - as a tracker, which must not fail
        return f"<{type(exc).__name__}>"


def leaks(exc, secret, within=""):
    """Return where a tracker would see a secret: frame and variable."""
    return [
        f"{where}: {name}"
        for where, values in frames(exc, within)
        for name, value in values.items()
        if secret in shown(value)
    ]
