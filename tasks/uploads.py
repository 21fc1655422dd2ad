"""The Celery app behind the gateway: a file that a client uploads becomes a task.

A worker runs with ``celery -A tasks.uploads worker``, the gateway with ``uvicorn --factory
tasks.uploads:gateway``.
"""

from celery import Celery
from kombu.entity import Queue
from starlette.applications import Starlette

import pipeline
from pipeline.doors import s3_notifications
from pipeline.gateway import BearerTokens, Limits, create_app
from pipeline.worker.liveness import Liveness
from settings import CelerySettings, ClaimCheckSettings, UploadSettings

uploads = UploadSettings()
app = Celery("uploads", include=["tasks.exports"])
app.conf.update(
    CelerySettings().as_celery(),
    task_queues=[Queue(uploads.queue)],
    task_default_queue=uploads.queue,
    task_routes={},
)
app.steps["worker"].add(Liveness)
claimcheck = pipeline.install(
    app,
    **ClaimCheckSettings().as_options(),
    stores={"uploads": uploads.store},
    doors={uploads.queue: s3_notifications("exports.add_up_upload", store="uploads", task_ids="object")},
)


def gateway() -> Starlette:
    """Return the web service through which clients upload."""
    limits = Limits(size_bytes=uploads.size_limit_bytes, media_types=uploads.media_types)
    return create_app(app, store="uploads", authentication=BearerTokens(uploads.users()), limits=limits)
