"""The demo's bucket, queues and result table."""

from urllib.parse import urlsplit

from pipeline.admin.lifetimes import lifetimes
from pipeline.admin.provision import provision
from pipeline.serializer import serializer
from pipeline.transport.queues import Queues
from settings import QUEUES, CelerySettings, ClaimCheckSettings


def make() -> None:
    """Create what does not exist in the AWS that the environment names."""
    from tasks.app import app  # noqa: PLC0415 - reads the environment when it is imported

    claimcheck = serializer.installed()
    with Queues(app) as queues:
        for _ in provision(claimcheck.store, queues, list(lifetimes(app, claimcheck))):
            pass
    # Celery's backend creates its table on first use: here, and not in two workers at a time.
    app.backend.client  # noqa: B018


def bucket_and_prefix() -> tuple[str, str]:
    """Return bucket and prefix of the payloads."""
    store = urlsplit(ClaimCheckSettings().store)
    return store.netloc, store.path.strip("/")


def queue_names() -> list[str]:
    """Return the names of all queues, dead-letter queues included, as SQS knows them."""
    prefix = CelerySettings().queue_name_prefix
    return [f"{prefix}{queue}{suffix}" for queue in QUEUES for suffix in ("", "-dlq")]
