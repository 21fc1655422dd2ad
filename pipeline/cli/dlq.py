"""``pipeline dlq``: list, show, redrive, purge."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from pipeline.admin.dead_letter import Letter
from pipeline.admin.dead_letters import DeadLetterQueue, DeadLetters
from pipeline.admin.outcome import Outcome
from pipeline.cli.failure import FINDINGS
from pipeline.cli.frame import app_of, guarded, leave, progress, readable, show
from pipeline.errors import PipelineError
from pipeline.transport.queues import Queues

queue_argument = click.argument("queue", required=False)
limit_option = click.option("--limit", type=click.IntRange(1), help="So many messages of each queue at most.")
task_option = click.option("--task-id", help="Only the messages of this task.")


@click.group("dlq")
def command() -> None:
    """Dead-letter queues of the app: look, send back, give up.

    QUEUE is a dead-letter queue or the queue that it belongs to; without it, all of them.
    """


@contextmanager
def _opened(
    context: click.Context, queue: str | None
) -> Iterator[tuple[Any, DeadLetters, list[DeadLetterQueue]]]:
    app, claimcheck = app_of(context)
    with Queues(app) as queues:
        letters = DeadLetters(app, queues, claimcheck)
        yield app, letters, letters.found(queue)


@command.command("list")
@queue_argument
@click.pass_context
@guarded
def list_command(context: click.Context, *, queue: str | None, as_json: bool) -> None:
    """Show how many messages each dead-letter queue holds, and since when. Exits with 1 if there are any."""
    with _opened(context, queue) as (_, letters, found):
        entries = [_summary(letters, dead) for dead in found]
    show({"queues": entries}, _rows(entries, ("queue", "messages", "oldest", "sources")), as_json=as_json)
    leave(FINDINGS if any(entry["messages"] for entry in entries) else 0)


def _summary(letters: DeadLetters, dead: DeadLetterQueue) -> dict[str, Any]:
    return {
        "queue": dead.queue.name,
        "messages": dead.queue.depth,
        "oldest": letters.oldest(dead) if dead.queue.depth else None,
        "sources": ", ".join(queue.name for queue in dead.sources),
    }


@command.command("show")
@queue_argument
@limit_option
@task_option
@click.option(
    "--arguments",
    is_flag=True,
    help="Read payloads and print args and kwargs: shows what may be confidential.",
)
@click.pass_context
@guarded
def show_command(  # noqa: PLR0913 - one for each option
    context: click.Context,
    *,
    queue: str | None,
    limit: int | None,
    task_id: str | None,
    arguments: bool,
    as_json: bool,
) -> None:
    """Explain messages one by one: task, claim, payload, and the error that a worker would raise now.

    An error of "-" means that nothing is wrong any more: redrive it. A missing payload with the result
    SUCCESS means that the message is a second copy of one that has run: purge it.
    """
    entries = []
    with _opened(context, queue) as (app, letters, found):
        for dead in found:
            for letter in letters.read(dead, limit, task_id):
                entries.append(_explained(letter, app, letters) | (_arguments(letter) if arguments else {}))
                entries[-1]["queue"] = dead.queue.name
    _check_found(task_id, len(entries), found)
    lines = [[("", ""), *entry.items()] for entry in entries]
    rows = [[name, readable(name, each)] for line in lines for name, each in line][1:]
    show({"messages": entries}, rows or [["no messages"]], as_json=as_json)


def _explained(letter: Letter, app: Any, letters: DeadLetters) -> dict[str, Any]:
    payload, error = letters.verdict(letter)
    claim = letter.claim
    return {
        "queue": "",
        "message_id": letter.received.message_id,
        "task": letter.task,
        "task_id": letter.task_id,
        "receive_count": int(letter.received.attributes.get("ApproximateReceiveCount", 0)),
        "sent": letter.sent,
        "first_received": letter.first_received,
        "size_bytes": len(letter.received.body),
        "store": claim.store if claim else None,
        "key": letter.key,
        "payload_bytes": claim.expanded_bytes if claim else None,
        "stored_bytes": claim.size_bytes if claim else None,
        "payload_there": payload is not None if claim else None,
        "result": _result(app, letter.task_id),
        "error": error or None,
    }


def _result(app: Any, task_id: str) -> str | None:
    """Return how the task has ended as far as the result backend knows: a second copy of it needs nothing."""
    try:
        return str(app.backend.get_task_meta(task_id)["status"])
    except Exception:  # noqa: BLE001 - no backend, or one that does not answer: then nobody knows
        return None


def _arguments(letter: Letter) -> dict[str, Any]:
    if letter.error:
        return {"args": None, "kwargs": None}
    try:
        args, kwargs = letter.arguments()
    except PipelineError as exc:
        return {"args": None, "kwargs": None, "error": str(exc)}
    except Exception as exc:  # noqa: BLE001 - anybody can write anything, and the others are to be shown
        return {"args": None, "kwargs": None, "error": f"arguments not read: {type(exc).__name__}"}
    return {"args": args, "kwargs": kwargs}


def _check_found(task_id: str | None, matched: int, found: Sequence[DeadLetterQueue]) -> None:
    """Say that there is no message of a task.

    Raises:
        ValueError: one task was asked for, and no queue has shown a message of it.
    """
    if task_id is not None and not matched:
        names = ", ".join(dead.queue.name for dead in found) or "any dead-letter queue"
        raise ValueError(
            f"no message of task {task_id!r} in {names}: check the id, and see pipeline dlq show; what "
            "somebody else holds is shown again after its visibility timeout"
        )


@command.command("redrive")
@queue_argument
@limit_option
@task_option
@click.option("--only-runnable", is_flag=True, help="Keep what dlq show has an error for.")
@click.pass_context
@guarded
def redrive_command(  # noqa: PLR0913 - one for each option
    context: click.Context,
    *,
    queue: str | None,
    limit: int | None,
    task_id: str | None,
    only_runnable: bool,
    as_json: bool,
) -> None:
    """Send messages back to the queue that they came from, as they are; their payloads stay.

    Exits with 1 if some had to stay; the reasons are printed.
    """
    with _opened(context, queue) as (_, letters, found):
        outcomes = _each(
            found, "redrive", lambda dead: letters.redrive(dead, limit, task_id, only_runnable=only_runnable)
        )
    _report(outcomes, task_id, found, as_json=as_json)


@command.command("purge")
@queue_argument
@limit_option
@task_option
@click.option("--keep-payloads", is_flag=True, help="Delete messages alone; the sweep finds their payloads.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
@guarded
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
    """Delete messages for good, then release their payloads: these tasks will never run.

    A message that came from another app's queue stays, and so does a payload that another message of the
    same queue names. If a copy of a message may be alive elsewhere (a redrive that broke off), use
    --keep-payloads. Exits with 1 if something had to stay.
    """
    with _opened(context, queue) as (_, letters, found):
        if not yes:
            counts = {dead.queue.name: _count(letters, dead, limit, task_id) for dead in found}
            _check_found(task_id, sum(counts.values()), found)
            _confirm(counts)
        outcomes = _each(
            found, "purge", lambda dead: letters.purge(dead, limit, task_id, release=not keep_payloads)
        )
    _report(outcomes, task_id, found, as_json=as_json)


def _count(letters: DeadLetters, dead: DeadLetterQueue, limit: int | None, task_id: str | None) -> int:
    """Return about how many messages were asked for: by SQS's own count, or those of one task."""
    if task_id is not None:
        return sum(1 for _ in letters.read(dead, limit, task_id))
    return dead.queue.depth if limit is None else min(limit, dead.queue.depth)


def _confirm(counts: Mapping[str, int]) -> None:
    """Ask whether so many messages are to be deleted.

    Raises:
        ValueError: they are not.
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
    leave(FINDINGS if any(outcome.kept for outcome in outcomes) else 0)


def _rows(entries: Iterable[dict[str, Any]], names: tuple[str, ...]) -> list[list[Any]]:
    return [
        [name.replace("_", " ") for name in names],
        *([readable(name, entry[name]) for name in names] for entry in entries),
    ]
