"""Arguments of ``pipeline.install`` as settings of the app: ``claimcheck_store``, ``claimcheck_alias``, ….

Celery keeps settings that it does not know, and finds them under the app's namespace: with ``CELERY``, the
argument ``store`` is ``CELERY_CLAIMCHECK_STORE``. Celery's reports mask each setting whose name contains
``KEY``, so ``claimcheck_signing_key`` too.
Source: celery 5.7.0, ``app/utils.py`` (``Settings``, ``HIDDEN_SETTINGS``), ``utils/collections.py``
(``ConfigurationView``).
"""

import sys
from collections.abc import Collection, Iterable
from typing import Any

from pipeline.options import did_you_mean

PREFIX = "claimcheck_"


def arguments(app: Any, known: Collection[str]) -> dict[str, Any]:
    """Return the arguments that an app's settings choose; loads the configuration if need be.

    Args:
        app: the Celery app.
        known: the names of all arguments.

    Raises:
        ValueError: a setting has the prefix and is not known, or Django's settings are not complete yet.
    """
    conf = app.conf.finalize()
    _check_complete(conf)
    _check_names(app, conf, known)
    return {name: conf[PREFIX + name] for name in known if PREFIX + name in conf}


def setting(app: Any, name: str) -> str:
    """Return the name of the setting for an argument, as the app's namespace spells it."""
    plain, namespace = PREFIX + name, (app.namespace or "").rstrip("_")
    if not namespace:
        return plain
    return f"{namespace}_{plain.upper() if namespace.isupper() else plain}"


def _check_complete(conf: Any) -> None:
    """Check that the module that Django's settings come from is not being imported.

    It is if it imports the package that calls ``pipeline.install`` and is not part of it. Celery keeps what
    it has read by then: settings further down would have no effect.
    Source: celery 5.7.0, ``utils/collections.py`` (``force_mapping``).
    """
    name = conf.get("SETTINGS_MODULE")
    module = sys.modules.get(name or "")
    if getattr(getattr(module, "__spec__", None), "_initializing", False):
        raise ValueError(
            f"{name} is still being imported, and settings further down are not known yet: it imports the "
            "package that calls pipeline.install; remove that import, or move the settings into the package"
        )


def _check_names(app: Any, conf: Iterable[str], known: Collection[str]) -> None:
    """Check every name that begins as ours do, with the namespace or without: Celery reads both."""
    settings = [setting(app, name) for name in known]
    readable = {*settings, *(PREFIX + name for name in known)}
    for name in conf:
        start = next(filter(name.startswith, (PREFIX, setting(app, ""))), None)
        if start and name not in readable:
            question = did_you_mean(name.removeprefix(start).lower(), known)
            raise ValueError(f"unknown setting {name}{question}: expected one of {', '.join(settings)}")
