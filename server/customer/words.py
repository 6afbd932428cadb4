"""The sentences of the customer's page, in the order's language.

A file of its own beside the dashboard's: a customer reads in the language of his order, not in
that of a browser or a user.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from markupsafe import Markup, escape

TEXTS = Path(__file__).parent / "texts"
LANGUAGES = ("de", "en")


@cache
def texts(language: str) -> Mapping[str, str]:
    """Every sentence of a language by its key."""
    found: dict[str, str] = tomllib.loads((TEXTS / f"{language}.toml").read_text("utf-8"))
    return found


def say(language: str, key: str, **values: object) -> Markup:
    """A sentence with its values escaped. KeyError if there is none."""
    return escape(texts(language)[key]).format(**values)
