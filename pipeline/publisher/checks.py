"""What is checked where a task is published: errors here are clearer than a message that nobody can run."""

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.claimcheck.sharing import NO_ARGUMENT
from pipeline.deferred.shared_arguments import has_shared
from pipeline.deferred.signatures import leaf_signatures
from pipeline.options import Options
from pipeline.serializer import serializer
from pipeline.telemetry import log_lines

logger = log_lines.logger(__name__)

_LINKS = {"callbacks": ("link", Mapping), "errbacks": ("link_error", Mapping | str)}
"""By the name in a message: the argument of ``apply_async``, and what each of its items may be. Celery's
workers take the name of a task as an errback. Source: celery 5.7.0, ``backends/base.py``."""


def check_links(task: str, embed: Mapping[str, Iterable[Any] | None]) -> None:
    """Check that the callbacks of a task are signatures: a worker trips over others after the task has run.

    Raises:
        TypeError: one is not, or an errback names a shared value; names the argument.
    """
    for name, (argument, kinds) in _LINKS.items():
        for each in embed.get(name) or ():
            if not isinstance(each, kinds):
                raise TypeError(
                    f"{argument} of task {task} has an item of type {type(each).__name__}: expected a "
                    "signature, such as other_task.s()"
                )


def check_errbacks(task: str, embed: Mapping[str, Any]) -> None:
    """Check that no errback names a shared value, also of the tasks that come after this one.

    Celery calls an errback in the process where its task has failed, without a message that could count.
    Source: celery 5.7.0, ``backends/base.py``, ``_call_task_errbacks``.

    Raises:
        TypeError: one does.
    """
    links = [embed.get(name) for name in ("callbacks", "errbacks", "chain", "chord")]
    later = [(each["options"] or {}).get("link_error") for each in leaf_signatures(links)]
    for errback in leaf_signatures([embed.get("errbacks"), later]):
        if has_shared([errback["args"], errback["kwargs"]]):
            raise TypeError(
                f"an errback of task {task} names a shared value, which nothing would read for it: pass the "
                "handle of the value, and load it in the errback"
            )


def check_shared(task: str, chosen: str, call: Any) -> None:
    """Check that shared values travel in our serializer: pickle would not say that a task uses them.

    Raises:
        TypeError: they would not.
    """
    if chosen not in {serializer.NAME, "json"} and has_shared(call):  # JSON's encoder raises by itself
        raise TypeError(f"task {task} not published [serializer={chosen}]: {NO_ARGUMENT}")


def check_signed(task: str, chosen: str, options: Options) -> None:
    """Check that a message will be signed if workers accept nothing else.

    Raises:
        ValueError: it would not be.
    """
    if options.signing_key and not options.accept_unsigned and chosen != serializer.NAME:
        raise ValueError(
            f"task {task} not published [serializer={chosen}]: its message would be unsigned, and with a "
            "signing_key no worker accepts that; remove serializer= from the call and from the task, set "
            f"task_serializer to {serializer.NAME!r}, or install with accept_unsigned=True"
        )


def warn_of_overwritten_serializer(app: Any, options: Options) -> None:
    """Log that nothing is offloaded, if something has set another serializer after ``pipeline.install``."""
    chosen = app.conf.task_serializer
    if options.publish and chosen != serializer.NAME:
        logger.warning(
            "claimcheck: nothing is offloaded, task_serializer was set to %r after pipeline.install; call "
            "pipeline.install once the app has its configuration",
            chosen,
        )
