"""The application of this repository, with metrics as lines of a file, for the picture of the dashboard."""

import os

from celery import Celery

import pipeline
from pipeline.metrics import EmbeddedMetricFormatSink
from settings import CelerySettings, ClaimCheckSettings


def _write(line):
    with open(os.environ["DASHBOARD_LINES"], "a") as file:  # noqa: PTH123 - appended by all processes at once
        file.write(f"{line}\n")


app = Celery("tasks", include=["tasks.reports", "tasks.archives"])
app.conf.update(CelerySettings().as_celery())
sink = EmbeddedMetricFormatSink(ClaimCheckSettings().metrics_namespace, write=_write)
claimcheck = pipeline.install(app, **ClaimCheckSettings().as_options() | {"metrics": sink})
