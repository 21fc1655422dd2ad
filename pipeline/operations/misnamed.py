"""Settings that nothing reads, because their names are nearly those of Celery, or one level too high.

Celery takes any name, since an application may keep settings of its own there. So only a name that resembles
one of Celery's is reported. Source: celery 5.7.0, ``app/defaults.py``, ``app/utils.py`` (``Settings``).
"""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from celery.app.defaults import _OLD_SETTING_KEYS, DEFAULTS

TRANSPORT_OPTIONS = "broker_transport_options"

OF_TRANSPORT = frozenset(
    {
        "dead_letter_queues",
        "eta_in_worker_seconds",
        "event_gather_seconds",
        "health_seconds",
        "is_secure",
        "max_receive_count",
        "polling_interval",
        "predefined_exchanges",
        "predefined_queues",
        "queue_name_prefix",
        "queue_tags",
        "redelivery_floor_seconds",
        "redelivery_limit_seconds",
        "redelivery_step_seconds",
        "region",
        "sqs-creation-attributes",
        "sqs_base64_encoding",
        "sts_role_arn",
        "supports_fanout",
        "visibility_heartbeat",
        "visibility_timeout",
        "wait_time_seconds",
    }
)
"""Options of the SQS transport: Kombu's and ours."""

LIKENESS = 0.85
"""How much alike two names are, by difflib's ratio, if one is taken for the other mistyped."""


def misnamed(conf: Any) -> Iterator[tuple[str, str]]:
    """Yield each setting that nothing reads, and what was probably meant. Runs in any process."""
    settings = conf.table(with_defaults=False, censored=False)  # reads the configuration, if nobody has yet
    prefix = conf.prefix or ""
    for given in sorted(settings):
        name = given.removeprefix(prefix).lower()
        is_celerys = given.startswith(prefix) and name not in DEFAULTS and given not in _OLD_SETTING_KEYS
        if is_celerys and (meant := _meant(name)):
            yield given, meant


def _meant(name: str) -> str | None:
    if name in OF_TRANSPORT:
        return f"{TRANSPORT_OPTIONS}[{name!r}]"
    # Without the first word, as in "transport_options" and "acks_late"; of several, the broker's comes first.
    shortened = [known for known in DEFAULTS if known.partition("_")[2] == name]
    return next(iter(shortened or get_close_matches(name, DEFAULTS, 1, LIKENESS)), None)
