"""``pipeline dlq``: list, show, redrive, purge."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from pipeline.admin.dead_letter import DeadLetter
from pipeline.admin.dead_letter_queues import DeadLetterQueue, DeadLetterQueues
from pipeline.admin.outcome import Outcome
from pipeline.cli.app_option import app_of
from pipeline.cli.error_reports import reports_errors
from pipeline.cli.exit_codes import FINDINGS, exit_with
from pipeline.cli.output import progress, show
from pipeline.cli.tables import readable
from pipeline.errors import PipelineError
from pipeline.transport.queues import Queues

queue_argument = click.argument("queue", required=False)
limit_option = click.option(
    "--limit", type=click.IntRange(1), help="Maximum number of messages of each queue."
)
task_option = click.option("--task-id", help="Only the messages of this task.")


@click.group("dlq")
def command() -> None:
    """List, show, redrive or purge the messages of the app's dead-letter queues.

    QUEUE is a dead-letter queue or its source queue. Without it, all dead-letter queues are used.
    """


@contextmanager
def _opened(
    context: click.Context, queue: str | None
) -> Iterator[tuple[Any, DeadLetterQueues, list[DeadLetterQueue]]]:
    app, claimcheck = app_of(context)
    with Queues(app) as opened:
        queues = DeadLetterQueues(app, opened, claimcheck)
        yield app, queues, queues.find(queue)


@command.command("list")
@queue_argument
@click.pass_context
@reports_errors
def list_command(context: click.Context, *, queue: str | None, as_json: bool) -> None:
    """List dead-letter queues with message counts. Exits with 1 if there are messages."""
    with _opened(context, queue) as (_, queues, found):
        entries = [_summary(queues, dead) for dead in found]
    show({"queues": entries}, _rows(entries, ("queue", "messages", "oldest", "sources")), as_json=as_json)
    exit_with(FINDINGS if any(entry["messages"] for entry in entries) else 0)


def _summary(queues: DeadLetterQueues, dead: DeadLetterQueue) -> dict[str, Any]:
    return {
        "queue": dead.queue.name,
        "messages": dead.queue.depth,
        "oldest": queues.oldest(dead) if dead.queue.depth else None,
        "sources": ", ".join(queue.name for queue in dead.sources),
    }


@command.command("show")
@queue_argument
@limit_option
@task_option
@click.option(
    "--arguments",
    is_flag=True,
    help="Read payloads and print args and kwargs, which may be confidential.",
)
@click.pass_context
@reports_errors
def show_command(  # noqa: PLR0913 - one for each option
    context: click.Context,
    *,
    queue: str | None,
    limit: int | None,
    task_id: str | None,
    arguments: bool,
    as_json: bool,
) -> None:
    """Show each message: task, claim, payload, and the error that a worker would raise now.

    The error "-" means that the task can run now: redrive the message. A missing payload with the result
    SUCCESS means that the message is a copy of one that has already run: purge it.
    """
    entries = []
    with _opened(context, queue) as (app, queues, found):
        for dead in found:
            for message in queues.read(dead, limit, task_id):
                entries.append(_explained(message, app, queues) | (_arguments(message) if arguments else {}))
                entries[-1]["queue"] = dead.queue.name
    _check_found(task_id, len(entries), found)
    lines = [[("", ""), *entry.items()] for entry in entries]
    rows = [[name, readable(name, each)] for line in lines for name, each in line][1:]
    show({"messages": entries}, rows or [["no messages"]], as_json=as_json)


def _explained(message: DeadLetter, app: Any, queues: DeadLetterQueues) -> dict[str, Any]:
    payload, error = queues.payload_and_error(message)
    claim = message.claim
    return {
        "queue": "",
        "message_id": message.received.message_id,
        "task": message.task,
        "task_id": message.task_id,
        "receive_count": int(message.received.attributes.get("ApproximateReceiveCount", 0)),
        "sent": message.sent,
        "first_received": message.first_received,
        "size_bytes": len(message.received.body),
        "store": claim.store if claim else None,
        "key": message.key,
        "payload_bytes": claim.expanded_bytes if claim else None,
        "stored_bytes": claim.size_bytes if claim else None,
        "payload_there": payload is not None if claim else None,
        "result": _result(app, message.task_id),
        "error": error or None,
    }


def _result(app: Any, task_id: str) -> str | None:
    """Return the task's state in the result backend, or None if it does not answer."""
    try:
        return str(app.backend.get_task_meta(task_id)["status"])
    except Exception:  # noqa: BLE001 - no backend, or one that does not answer
        return None


def _arguments(message: DeadLetter) -> dict[str, Any]:
    if message.error:
        return {"args": None, "kwargs": None}
    try:
        args, kwargs = message.arguments()
    except PipelineError as exc:
        return {"args": None, "kwargs": None, "error": str(exc)}
    except Exception as exc:  # noqa: BLE001 - a message may hold anything; the others are shown all the same
        return {"args": None, "kwargs": None, "error": f"arguments not read: {type(exc).__name__}"}
    return {"args": args, "kwargs": kwargs}


def _check_found(task_id: str | None, matched: int, found: Sequence[DeadLetterQueue]) -> None:
    """Check that a message of the task was found.

    Raises:
        ValueError: a task id was given, and SQS returned no message of it.
    """
    if task_id is not None and not matched:
        names = ", ".join(dead.queue.name for dead in found) or "any dead-letter queue"
        raise ValueError(
            f"no message of task {task_id!r} in {names}: check the id, and see pipeline dlq show; a message "
            "that another consumer has in flight is visible again after its visibility timeout"
        )


@command.command("redrive")
@queue_argument
@limit_option
@task_option
@click.option("--only-runnable", is_flag=True, help="Keep messages for which dlq show has an error.")
@click.pass_context
@reports_errors
def redrive_command(  # noqa: PLR0913 - one for each option
    context: click.Context,
    *,
    queue: str | None,
    limit: int | None,
    task_id: str | None,
    only_runnable: bool,
    as_json: bool,
) -> None:
    """Send messages unchanged to their source queues; their payloads stay.

    Exits with 1 if messages were kept; the reasons are printed.
    """
    with _opened(context, queue) as (_, queues, found):
        outcomes = _each(
            found,
            "redrive",
            lambda dead: queues.redrive(dead, limit, task_id, only_runnable=only_runnable),
        )
    _report(outcomes, task_id, found, as_json=as_json)


@command.command("purge")
@queue_argument
@limit_option
@task_option
@click.option(
    "--keep-payloads", is_flag=True, help="Delete only messages; pipeline sweep finds their payloads."
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.pass_context
@reports_errors
def purge_command(  # noqa: PLR0913 - one for each option
    context: click.Context,
    *,
    queue: str | None,
    limit: int | None,
    task_id: str | None,
    keep_payloads: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete messages, then release their payloads: these tasks never run.

    Messages from another app's queue are kept, and so are payloads that another message of the same queue
    names. If a copy of a message may exist elsewhere (an interrupted redrive), use --keep-payloads.
    Exits with 1 if messages or payloads were kept.
    """
    with _opened(context, queue) as (_, queues, found):
        if not yes:
            counts = {dead.queue.name: _count(queues, dead, limit, task_id) for dead in found}
            _check_found(task_id, sum(counts.values()), found)
            _confirm(counts)
        outcomes = _each(
            found, "purge", lambda dead: queues.purge(dead, limit, task_id, release=not keep_payloads)
        )
    _report(outcomes, task_id, found, as_json=as_json)


def _count(queues: DeadLetterQueues, dead: DeadLetterQueue, limit: int | None, task_id: str | None) -> int:
    """Return about how many messages match: SQS's approximate count, or those of one task."""
    if task_id is not None:
        return sum(1 for _ in queues.read(dead, limit, task_id))
    return dead.queue.depth if limit is None else min(limit, dead.queue.depth)


def _confirm(counts: Mapping[str, int]) -> None:
    """Ask for confirmation.

    Raises:
        ValueError: the answer was no.
    """
    each = ", ".join(f"{count:,} of {name}" for name, count in counts.items())
    if not click.confirm(f"Delete about {sum(counts.values()):,} messages for good ({each})?", err=True):
        raise ValueError("not confirmed: nothing was deleted")


def _each(
    found: Iterable[DeadLetterQueue], text: str, work: Callable[[DeadLetterQueue], Outcome]
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    with progress(f"{text}: queues") as advance:
        for dead in found:
            outcomes.append(work(dead))
            advance(1)
    return outcomes


def _report(
    outcomes: Sequence[Outcome], task_id: str | None, found: Sequence[DeadLetterQueue], *, as_json: bool
) -> None:
    _check_found(task_id, sum(outcome.matched for outcome in outcomes), found)
    names = ("queue", "moved", "deleted", "released", "released_bytes", "kept")
    entries = [{name: getattr(outcome, name) for name in names} for outcome in outcomes]
    shown = [entry | {"kept": sum(entry["kept"].values())} for entry in entries]
    show({"queues": entries}, _rows(shown, names), as_json=as_json)
    if not as_json:
        for reason, count in ((reason, count) for each in outcomes for reason, count in each.kept.items()):
            click.echo(f"kept {count}: {reason}")
    exit_with(FINDINGS if any(outcome.kept for outcome in outcomes) else 0)


def _rows(entries: Iterable[dict[str, Any]], names: tuple[str, ...]) -> list[list[Any]]:
    return [
        [name.replace("_", " ") for name in names],
        *([readable(name, entry[name]) for name in names] for entry in entries),
    ]
