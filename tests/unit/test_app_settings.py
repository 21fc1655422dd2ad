"""The arguments of ``pipeline.install`` are settings of the Celery app, too."""

from types import SimpleNamespace

import pytest
from celery import Celery

import pipeline
from pipeline.metrics import NullSink
from pipeline.metrics.sinks.cloudwatch import CloudWatchSink
from pipeline.options import Options
from pipeline.serializer import serializer
from pipeline.stores import store_from_url
from pipeline.stores.memory import MemoryStore

KEY = b"0123456789abcdef"
OPTIONS = {
    "alias": "archive",
    "threshold_bytes": 1,
    "result_threshold_bytes": 2,
    "broker_limit_bytes": 262_144,
    "payload_limit_bytes": 3_000,
    "reserve_bytes": 4,
    "publish": False,
    "codec": "pickle",
    "signing_key": KEY,
    "accept_unsigned": True,
    "store_retry_seconds": 5.0,
    "payload_ttl_seconds": 40 * 86_400,
    "upload_threads_count": 3,
    "pack_bytes": 1_000_000,
    "read_ahead_bytes": 2_000_000,
    "read_ahead_directory": "/var/spool",
}
"""A value other than the default for each option."""


@pytest.fixture
def app():
    yield Celery("sample_app", broker="sqs://", set_as_current=False)
    pipeline.uninstall()


def settings(namespace="", **arguments):
    """Return an object with settings, as ``config_from_object`` takes it."""
    names = {name: f"claimcheck_{name}" for name in arguments}
    if namespace:
        names = {name: f"{namespace}_{plain}".upper() for name, plain in names.items()}
    return SimpleNamespace(**{names[name]: value for name, value in arguments.items()})


@pytest.mark.parametrize("namespace", [None, "CELERY", "SHOP_"])
def test_every_option_is_a_setting(app, namespace):
    """Each option is read from the configuration, in lower case, or as the app's namespace spells it."""
    chosen = settings((namespace or "").rstrip("_"), store="memory://shop", **OPTIONS)
    app.config_from_object(chosen, namespace=namespace)

    assert pipeline.install(app).options == Options(**OPTIONS)
    assert OPTIONS.keys() == Options.__dataclass_fields__.keys()


def test_the_other_arguments_are_settings_too(app):
    """Store and sink may be objects, and what belongs to S3 reaches the store."""
    store, sink, further = MemoryStore("sample_app"), NullSink(), MemoryStore("input")
    named = {"uploads": further, "archive": "memory://archive"}
    app.conf.update(claimcheck_store=store, claimcheck_metrics=sink, claimcheck_stores=named)
    made = pipeline.install(app)

    assert made.store is store
    assert made.stores == {"uploads": further, "archive": store_from_url("memory://archive")}
    assert made.recorder._sink is sink


@pytest.mark.parametrize(
    "wrong", [{"server_side_encryption": "aes"}, {"kms_key_id": 7}, {"metrics": CloudWatchSink}]
)
def test_a_setting_is_checked_as_an_argument_is(app, wrong):
    """A wrong value in the configuration is the same error as a wrong argument."""
    app.config_from_object(settings(store="s3://payloads", **wrong))

    with pytest.raises(ValueError, match=next(iter(wrong))):
        pipeline.install(app)


def test_an_argument_wins_over_a_setting(app):
    """What is given to ``install`` counts, an option that is ``None`` too."""
    app.config_from_object(
        settings(store="memory://configured", signing_key=KEY, threshold_bytes=5, alias="b")
    )
    made = pipeline.install(app, "memory://given", threshold_bytes=7, signing_key=None)

    assert made.store is store_from_url("memory://given")
    assert (made.options.threshold_bytes, made.options.signing_key, made.options.alias) == (7, None, "b")


def test_settings_come_from_wherever_celery_has_them(app):
    """Settings of the app itself, of an object and of ``add_defaults`` count in Celery's own order."""
    app.add_defaults({"claimcheck_store": "memory://default", "claimcheck_threshold_bytes": 1})
    app.conf.claimcheck_threshold_bytes = 3
    app.config_from_object(settings(threshold_bytes=2, alias="object"))
    made = pipeline.install(app)

    assert (made.options.threshold_bytes, made.options.alias) == (3, "object")
    assert made.store is store_from_url("memory://default")


@pytest.mark.parametrize(
    ("namespace", "name", "expected"),
    [
        (None, "claimcheck_treshold_bytes", " (did you mean threshold_bytes?): expected one of c"),
        ("CELERY", "CELERY_CLAIMCHECK_STOER", " (did you mean store?): expected"),
        ("CELERY", "claimcheck_stoer", " (did you mean store?): expected one of CELERY_"),
        (None, "claimcheck_tasks_are_nice", ": expected one of claimcheck_alias, "),
    ],
)
def test_a_misspelled_setting_is_an_error(app, namespace, name, expected):
    """A setting that begins as ours do and is none of them is an error that names the nearest."""
    app.config_from_object(SimpleNamespace(**{name: "a value that is not shown"}), namespace=namespace)
    with pytest.raises(ValueError, match="unknown setting") as caught:
        pipeline.install(app, "memory://shop")

    assert str(caught.value).startswith(f"unknown setting {name}{expected}")
    assert "not shown" not in str(caught.value)
    assert not serializer.is_installed()


@pytest.mark.parametrize("name", ["CLAIMCHECK_BUCKET", "CELERY_CLAIMCHECK_STORE"])
def test_names_that_celery_does_not_read_are_ignored(app, name):
    """A constant of a configuration module that Celery would not find as a setting is left alone."""
    app.config_from_object(SimpleNamespace(**{name: 1}))

    assert pipeline.install(app, "memory://shop")


def test_a_missing_store_is_named_as_the_namespace_spells_it(app):
    """Without a store, the error names the setting that the project would write."""
    app.config_from_object(SimpleNamespace(), namespace="CELERY")

    with pytest.raises(ValueError, match="or set CELERY_CLAIMCHECK_STORE in the configuration"):
        pipeline.install(app)


@pytest.mark.parametrize("namespace", [None, "CELERY"])
def test_reports_mask_the_signing_key(app, namespace):
    """``celery report`` and ``inspect conf``, which Flower shows, mask the key, with a namespace too."""
    from celery.worker.control import conf

    prefix = (namespace or "").rstrip("_")
    app.config_from_object(settings(prefix, store="memory://shop", signing_key=KEY), namespace=namespace)
    pipeline.install(app)
    shown = [app.bugreport(), app.conf.humanize(), str(conf(SimpleNamespace(app=app), with_defaults=True))]

    for each in shown:
        assert "signing_key" in each.lower()
        assert KEY.decode() not in each


def test_a_wrong_key_in_the_configuration_is_in_no_frame(app):
    """An error of ``install`` holds no frame with the key, as error trackers show what is in a frame."""
    app.config_from_object(settings(store="memory://shop", signing_key=KEY, threshold_bytes=-1))
    with pytest.raises(ValueError, match="threshold_bytes=-1") as caught:
        pipeline.install(app)
    trace, frames = caught.value.__traceback__, []
    while trace:
        frames.append(
            repr(trace.tb_frame.f_locals) if "pipeline" in trace.tb_frame.f_code.co_filename else ""
        )
        trace = trace.tb_next

    assert KEY.decode() not in "".join(frames)


def test_a_configuration_that_is_read_after_install_takes_its_place(app):
    """Celery forgets what was set on ``app.conf`` before, so a worker of such an app does not start."""
    from pipeline.worker.steps import ClaimCheckStep

    pipeline.install(app, "memory://shop")
    app.config_from_object(SimpleNamespace(task_ignore_result=True))

    with pytest.raises(SystemExit, match=r"call pipeline.install.* after the app has read its configuration"):
        ClaimCheckStep(SimpleNamespace(app=app)).create(SimpleNamespace(app=app))
