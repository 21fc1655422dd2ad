"""Flower as ``pipeline flower`` runs it: with a broker page for SQS, and never without authentication.

Flower knows the queues of RabbitMQ and Redis alone, and has no seam for others but its handlers.
Source: flower 2.2.0, ``views/broker.py``, ``api/tasks.py``, ``command.py``, ``inspector.py``.
"""

import secrets
from collections.abc import Sequence
from typing import Any

import click
from celery.utils.log import get_logger
from flower import command as flowers
from flower.api.tasks import GetQueueLengths
from flower.app import Flower, rewrite_handler
from flower.inspector import Inspector
from flower.options import default_options
from flower.urls import settings
from flower.views import BaseHandler
from flower.views.broker import BrokerView
from tornado.options import Error, options
from tornado.web import url

from pipeline.cli.failure import Failure
from pipeline.transport.queues import Queues
from pipeline.worker.celery_fixes.hidden_results import NOT_SHOWN

logger = get_logger(__name__)

Rows = list[dict[str, Any]]

LOCAL = "127.0.0.1"
"""Default address. Flower's own default is every address."""


class SQSBroker:
    """The app's queues as Flower's broker page wants them."""

    def __init__(self, handler: Any) -> None:
        self._application = handler.application
        self._app = handler.capp

    async def queues(self, names: list[str]) -> Rows:
        """Return depth, hidden and visible messages of each queue that exists; SQS is asked on a thread."""
        loop = self._application.io_loop
        rows: Rows = await loop.run_in_executor(self._application.executor, self._read, names)
        return rows

    def _read(self, names: list[str]) -> Rows:
        with Queues(self._app) as queues:
            found = [(name, queues.find(queues.channel.canonical_queue_name(name))) for name in names]
            return [_row(name, queue) for name, queue in found if queue is not None]


def _row(name: str, queue: Any) -> dict[str, Any]:
    return {
        "name": name,
        "messages": queue.depth,
        "messages_unacknowledged": queue.number("ApproximateNumberOfMessagesNotVisible"),
        "messages_ready": queue.number("ApproximateNumberOfMessages"),
    }


class SQSMixin(BaseHandler):
    """Goes in front of a handler of Flower's that asks the broker."""

    def get_broker(self) -> Any:
        """Return the broker of an app on SQS; Flower's own for any other."""
        return SQSBroker(self) if self.application.transport == "sqs" else super().get_broker()


class SQSBrokerView(SQSMixin, BrokerView):
    """Flower's broker page."""


class SQSQueueLengths(SQSMixin, GetQueueLengths):
    """Flower's ``/api/queues/length``."""


class VeiledInspector(Inspector):
    """Flower's questions to workers. It asks for waiting tasks with the arguments that came with them."""

    def _on_update(self, workername: str, method: str, response: Any) -> None:
        if method in self.task_inspect_methods and method != "revoked":
            for each in response:
                _veil(each.get("request", each))
        super()._on_update(workername, method, response)


def _veil(task: dict[str, Any]) -> None:
    """Leave of a task's arguments what stands for them, which is a text; see ``Request.info``."""
    for name in ("args", "kwargs"):
        if not isinstance(task[name], str):
            task[name] = NOT_SHOWN


HANDLERS = [url(r"/broker", SQSBrokerView, name="broker"), (r"/api/queues/length", SQSQueueLengths)]


def run(app: Any, arguments: Sequence[str]) -> None:
    """Run Flower for an app, with Flower's own options, until Ctrl-C.

    Raises:
        Failure: it cannot read its options, or not listen.
    """
    _read(arguments)
    _lock()
    _serve(app)


def _read(arguments: Sequence[str]) -> None:
    """Read options, variables and Flower's own file; Flower says itself what it then refuses."""
    try:
        flowers.apply_env_options()
        flowers.apply_options("pipeline flower", arguments)
        options.address = options.address or LOCAL
        flowers.extract_settings()
    except (Error, ValueError, OSError) as exc:
        raise Failure(f"Flower cannot read its options or FLOWER_… variables: {exc}") from exc
    except SystemExit as exc:
        if exc.code:
            raise Failure("Flower cannot work with these options: it says above why") from exc
        raise
    flowers.setup_logging()


def _lock() -> None:
    """See to it that nobody gets in without a password: Flower shuts workers down on request."""
    options.basic_auth = [each for each in options.basic_auth or () if each]  # an empty variable is none
    if options.basic_auth or options.auth:
        return
    password = secrets.token_urlsafe(12)
    options.basic_auth = [f"flower:{password}"]
    click.echo(f"Flower: user flower, password {password} (FLOWER_BASIC_AUTH=user:password sets another)")


def _serve(app: Any) -> None:
    served = Flower(capp=app, options=default_options, **settings)
    served.inspector = VeiledInspector(served.io_loop, app, default_options.inspect_timeout / 1000.0)
    prefix = default_options.url_prefix
    served.add_handlers(r".*", [rewrite_handler(each, prefix) if prefix else each for each in HANDLERS])
    click.echo(f"Flower: {_listening(served)}")
    try:
        served.start()
    except KeyboardInterrupt:
        click.echo("")
    finally:
        served.stop()


def _listening(served: Any) -> str:
    """Listen, and return where."""
    place = options.unix_socket or f"{options.address}:{options.port}"
    try:
        port = served.start_http_server()
    except OSError as exc:
        raise Failure(f"Flower cannot listen on {place}: {exc.strerror}; choose another --port") from exc
    if options.unix_socket:
        return f"the socket {place}"
    scheme = "https" if "ssl_options" in settings else "http"
    host = f"[{options.address}]" if ":" in options.address else options.address
    return f"{scheme}://{host}:{port}/{(options.url_prefix or '').strip('/')}"
