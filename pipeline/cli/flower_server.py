"""Runs Flower with a broker page for SQS, and always with authentication.

Flower reads queue lengths of RabbitMQ and Redis only; other brokers need handlers in place of Flower's.
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

from pipeline.cli.exit_codes import Failure
from pipeline.transport.queues import Queues
from pipeline.worker.celery_fixes.hidden_results import NOT_SHOWN

logger = get_logger(__name__)

Rows = list[dict[str, Any]]

LOCAL = "127.0.0.1"
"""Default address; Flower's own default is every address."""


class SQSBroker:
    """Reads queue depths in the form of Flower's broker page."""

    def __init__(self, handler: Any) -> None:
        self._application = handler.application
        self._app = handler.capp

    async def queues(self, names: list[str]) -> Rows:
        """Return depth, in-flight and visible messages of each existing queue; calls SQS on a thread."""
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
    """Mixin for Flower's handlers that read the broker."""

    def get_broker(self) -> Any:
        """Return the SQS broker for an app on SQS, and Flower's own for any other."""
        return SQSBroker(self) if self.application.transport == "sqs" else super().get_broker()


class SQSBrokerView(SQSMixin, BrokerView):
    """Flower's broker page, for SQS."""


class SQSQueueLengths(SQSMixin, GetQueueLengths):
    """Flower's ``/api/queues/length``, for SQS."""


class RedactingInspector(Inspector):
    """Flower's inspector, without the arguments of waiting tasks, which workers return in full."""

    def _on_update(self, workername: str, method: str, response: Any) -> None:
        if method in self.task_inspect_methods and method != "revoked":
            for each in response:
                _redact(each.get("request", each))
        super()._on_update(workername, method, response)


def _redact(task: dict[str, Any]) -> None:
    """Replace arguments that are values; those that ``Request.info`` replaced are already text."""
    for name in ("args", "kwargs"):
        if not isinstance(task[name], str):
            task[name] = NOT_SHOWN


HANDLERS = [url(r"/broker", SQSBrokerView, name="broker"), (r"/api/queues/length", SQSQueueLengths)]


def run(app: Any, arguments: Sequence[str]) -> None:
    """Run Flower for an app, with Flower's own options, until Ctrl-C.

    Raises:
        Failure: an option is wrong, or the port is in use.
    """
    _read(arguments)
    _require_password()
    _serve(app)


def _read(arguments: Sequence[str]) -> None:
    """Read options, FLOWER_… variables and Flower's configuration file; Flower prints what it rejects."""
    try:
        flowers.apply_env_options()
        flowers.apply_options("pipeline flower", arguments)
        options.address = options.address or LOCAL
        flowers.extract_settings()
    except (Error, ValueError, OSError) as exc:
        raise Failure(f"Flower cannot read its options or FLOWER_… variables: {exc}") from exc
    except SystemExit as exc:
        if exc.code:
            raise Failure("Flower rejected the options: see its message above") from exc
        raise
    flowers.setup_logging()


def _require_password() -> None:
    """Set a random password unless authentication is configured: Flower can shut workers down."""
    options.basic_auth = [each for each in options.basic_auth or () if each]  # an empty variable sets none
    if options.basic_auth or options.auth:
        return
    password = secrets.token_urlsafe(12)
    options.basic_auth = [f"flower:{password}"]
    click.echo(f"Flower: user flower, password {password} (FLOWER_BASIC_AUTH=user:password sets another)")


def _serve(app: Any) -> None:
    served = Flower(capp=app, options=default_options, **settings)
    served.inspector = RedactingInspector(served.io_loop, app, default_options.inspect_timeout / 1000.0)
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
    """Listen, and return the address."""
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
