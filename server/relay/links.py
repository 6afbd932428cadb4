"""The page that Kontor shows for List-Help: its signed link (S90, S91)."""

from __future__ import annotations

from functools import lru_cache

from itsdangerous import BadData, URLSafeSerializer

from server.config import installed

MAX_TOKEN_LENGTH = 120
PATH = "/relay/why"


def help_url(relay_domain_id: int) -> str:
    """Why mails of this domain come, and why they have no link to unsubscribe."""
    settings = installed()
    return _help_url(settings.url, settings.secret_key, relay_domain_id)


@lru_cache(maxsize=4096)
def _help_url(base: str, secret: str, relay_domain_id: int) -> str:
    return f"{base}{PATH}/{_signer(secret).dumps(relay_domain_id)}"


def read_help(token: str) -> int | None:
    """The id of the domain's row; None for a token that is forged or cut."""
    if len(token) > MAX_TOKEN_LENGTH:
        return None
    try:
        found = _signer(installed().secret_key).loads(token)
    except BadData:
        return None
    return found if isinstance(found, int) else None


def _signer(secret: str) -> URLSafeSerializer:
    return URLSafeSerializer(secret, salt="relay help")
