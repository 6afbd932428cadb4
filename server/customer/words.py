"""The sentences of the customer's page, in the edition of the order's mails.

A file of its own beside the dashboard's: a customer reads in the language of his order, not in
that of a browser or a user.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from markupsafe import Markup, escape

from server.mail.languages import is_swiss, language_of, parents_of

TEXTS = Path(__file__).parent / "texts"


@cache
def texts(edition: str) -> Mapping[str, str]:
    """Every sentence of an edition by its key; its file holds what differs from its parents'."""
    found: dict[str, str] = {}
    for parent in parents_of(edition):
        path = TEXTS / f"{parent}.toml"
        if path.exists():
            found |= tomllib.loads(path.read_text("utf-8"))
    if is_swiss(edition):
        found = {key: text.replace("ß", "ss") for key, text in found.items()}
    return found


def say(edition: str, key: str, **values: object) -> Markup:
    """A sentence with its values escaped. KeyError if there is none."""
    return escape(texts(edition)[key]).format(**values)


@cache
def group_texts(group: str, language: str) -> Mapping[str, str]:
    """The sentences of the links of a mail's foot by their keys: for customers (``choices``) or
    users (``notices``); and those of the relay's pages (``relay``)."""
    found: dict[str, str] = tomllib.loads((TEXTS / group / f"{language}.toml").read_text("utf-8"))
    return found


def language_tag(edition: str) -> str:
    """For the ``lang`` of a page (BCP 47): ``de-CH`` of ``de-CH-du``."""
    return f"{language_of(edition)}-CH" if is_swiss(edition) else language_of(edition)
