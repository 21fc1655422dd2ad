"""Finds settings that Celery ignores because their names are misspelled or one level too high.

Celery accepts any name: an application may store its own settings there. So only a name that resembles one of
Celery's is reported. Source: celery 5.7.0, ``app/defaults.py``, ``app/utils.py`` (``Settings``).
"""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from celery.app.defaults import _OLD_SETTING_KEYS, DEFAULTS

from pipeline.transport.transport_options import CHECKED_NAMES

TRANSPORT_OPTIONS = "broker_transport_options"

OF_TRANSPORT = CHECKED_NAMES | {
    "client-config",
    "event_exchange",
    "fetch_message_attributes",
    "is_secure",
    "predefined_exchanges",
    "predefined_queues",
    "queue_name_prefix",
    "queue_tags",
    "region",
    "sqs-creation-attributes",
    "sts_role_arn",
}
"""Options of the SQS transport: Kombu's and this library's. Source: kombu 5.7.0, ``transport/SQS``."""

LIKENESS = 0.85
"""Ratio of difflib from which one name counts as a misspelling of another."""


def misspelled_settings(conf: Any) -> Iterator[tuple[str, str]]:
    """Yield each setting that Celery ignores, and the name that was probably meant. Runs in any process."""
    settings = conf.table(with_defaults=False, censored=False)  # loads the configuration if need be
    prefix = conf.prefix or ""
    for given in sorted(settings):
        name = given.removeprefix(prefix).lower()
        is_unknown = given.startswith(prefix) and name not in DEFAULTS and given not in _OLD_SETTING_KEYS
        if is_unknown and (meant := _meant(name)):
            yield given, meant
    for given in sorted(conf.broker_transport_options):
        if given not in OF_TRANSPORT and (meant := _nearest(given, OF_TRANSPORT)):
            yield _of_transport(given), _of_transport(meant)


def _meant(name: str) -> str | None:
    if name in OF_TRANSPORT:
        return _of_transport(name)
    # The first word is missing, as in "transport_options" and "acks_late"; the broker's come first.
    shortened = [known for known in DEFAULTS if known.partition("_")[2] == name]
    return shortened[0] if shortened else _nearest(name, DEFAULTS)


def _nearest(name: str, known: Iterable[str]) -> str | None:
    return next(iter(get_close_matches(name, known, 1, LIKENESS)), None)


def _of_transport(name: str) -> str:
    return f"{TRANSPORT_OPTIONS}[{name!r}]"
