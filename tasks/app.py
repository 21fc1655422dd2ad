"""The Celery app, with the claim check installed. Workers run with ``celery -A tasks.app``."""

from celery import Celery

import pipeline
from pipeline.worker.liveness import Liveness
from settings import CelerySettings, ClaimCheckSettings

app = Celery("tasks", include=["tasks.reports", "tasks.tables", "tasks.archives", "tasks.exports"])
app.conf.update(CelerySettings().as_celery())
app.steps["worker"].add(Liveness)
claimcheck = pipeline.install(app, **ClaimCheckSettings().as_options())
