"""For mkdocs: links that leave docs/ (to code, to the README) become plain text in the pages.

In the repository those links work and are tested (tests/test_docs.py); a built site has no code.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Called by mkdocs with each page's source."""
    folder = posixpath.dirname(page.file.src_uri)

    def kept_or_text(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[2]))
        return link[1] if target.startswith("..") else link[0]

    return _LINK.sub(kept_or_text, markdown)
