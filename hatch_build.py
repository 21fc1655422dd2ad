"""What PyPI shows: README.md, with absolute links, and links to the project, if README_BASE_URL is set.

PyPI shows the README without its repository, so relative links and images lead nowhere there. The address is
that of the files of a release, such as ``https://HOST/OWNER/PROJECT/blob/v0.1.0``.
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


def urls(base_url: str) -> dict[str, str]:
    """Return the project's links below ``base_url``, under PyPI's well-known labels."""
    base = base_url.rstrip("/")
    return {
        "Source": re.split(r"/(?:-/)?blob/", base)[0],
        "Documentation": f"{base}/docs/quickstart.md",
        "Changelog": f"{base}/CHANGELOG.md",
    }


class ReadmeHook(MetadataHookInterface):
    """Hatchling finds it through ``tool.hatch.metadata.hooks.custom``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the long description and the links."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        base_url = os.environ.get("README_BASE_URL")
        shown = with_absolute_links(text, base_url) if base_url else text
        metadata["readme"] = {"content-type": "text/markdown", "text": shown}
        metadata["urls"] = urls(base_url) if base_url else {}
