"""The long description for PyPI: README.md, with absolute links if README_BASE_URL is set.

PyPI shows the README without its repository, so relative links and images lead nowhere there.
"""

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

RELATIVE = re.compile(r"(?P<image>!?)(?P<text>\[[^\]]*\]\()(?!https?://|#)(?P<path>[^)\s]+)")
"""A Markdown link or image whose target is a file of the repository."""


def with_absolute_links(text: str, base_url: str) -> str:
    """Return the text with links below ``base_url``, and images below the same with ``raw`` for ``blob``."""
    page, image = (f"{url.rstrip('/')}/" for url in (base_url, base_url.replace("/blob/", "/raw/")))
    return RELATIVE.sub(
        lambda link: f"{link['image']}{link['text']}{image if link['image'] else page}{link['path']}", text
    )


class ReadmeHook(MetadataHookInterface):
    """Hatchling finds it through ``tool.hatch.metadata.hooks.custom``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the long description."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        base_url = os.environ.get("README_BASE_URL")
        shown = with_absolute_links(text, base_url) if base_url else text
        metadata["readme"] = {"content-type": "text/markdown", "text": shown}
