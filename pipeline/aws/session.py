"""Sessions of botocore that read its data files once, and register its event handlers once.

By default each session has its own loader, which looks into the folders of 400 services and parses 1.5 MB of
JSON before the first client: 50 ms of CPU for every connection that Kombu opens. The first client takes 30 ms
here; another one takes 16 with the same loader, and 8 with the same handlers, too.
Source: botocore 1.44, ``session.py`` (``_register_data_loader``, ``_register_builtin_handlers``),
``loaders.py``; measured.
"""

import copy
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
from botocore.hooks import HierarchicalEmitter
from botocore.loaders import Loader


def botocore_session() -> Any:
    """Return a new session with botocore's own credentials, region and settings. In any process."""
    handlers, loader = _shared()
    made = botocore.session.Session(event_hooks=copy.copy(handlers), include_builtin_handlers=False)
    made.register_component("data_loader", loader)
    return made


class _Loader(Loader):
    """Reads and caches data files. Safe in threads and after a fork: it only adds.

    Args:
        places: folders of data files, in the order of the search.
    """

    def __init__(self, places: list[str]) -> None:
        super().__init__(extra_search_paths=places, include_default_search_paths=False)

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - botocore's signature
        """Take each folder for a service: a wrong one fails when its file is read."""
        places = [Path(place) for place in self.search_paths if Path(place).is_dir()]
        return sorted({each.name for place in places for each in place.iterdir()})

    @property
    def search_paths(self) -> list[str]:
        """Folders of data files; a copy, as each session of boto3 adds one of its own."""
        return list(super().search_paths)


@cache
def _shared() -> tuple[Any, Any]:
    """Return the built-in handlers and the loader; botocore, too, copies handlers for each client."""
    handlers = HierarchicalEmitter()
    found = botocore.session.Session(event_hooks=handlers).get_component("data_loader")
    return handlers, _Loader(found.search_paths)
