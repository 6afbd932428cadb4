"""What is decided about log-ins: pure, time comes in as an argument."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timedelta

SESSION_IDLE = timedelta(minutes=60)
SESSION_LIFETIME = timedelta(hours=12)
INVITATION_LIFETIME = timedelta(days=7)
RESET_LIFETIME = timedelta(minutes=30)
MIN_PASSWORD_LENGTH = 12
MAX_PASSWORD_LENGTH = 128

_KEY = re.compile(r"kontor_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")


def token_hash(token: str) -> bytes:
    """SHA-256 of a random token: it has 256 bits, so a slow hash would protect nothing more."""
    return hashlib.sha256(token.encode()).digest()


def session_is_over(created_at: datetime, seen_at: datetime, at: datetime) -> bool:
    """Idle for an hour, or twelve hours old (OWASP ASVS 7.3)."""
    return at - seen_at > SESSION_IDLE or at - created_at > SESSION_LIFETIME


def password_problem(password: str, email: str) -> str | None:
    """Why a password is refused, as a message key; None = it is good (OWASP ASVS 6.2)."""
    if len(password) < MIN_PASSWORD_LENGTH:
        return "password_too_short"
    if len(password) > MAX_PASSWORD_LENGTH:
        return "password_too_long"
    lowered = password.casefold()
    if len(set(lowered)) < 5 or _is_a_run(lowered):
        return "password_too_simple"
    name = email.partition("@")[0].casefold()
    if len(name) > 3 and name in lowered and len(lowered) - len(name) < MIN_PASSWORD_LENGTH // 2:
        return "password_too_simple"
    return None


def _is_a_run(text: str) -> bool:
    """All steps between neighbours equal, as in 123456789012 or abcdefghijkl."""
    keyboards = ("qwertyuiopasdfghjklzxcvbnm", "qwertzuiopasdfghjklyxcvbnm", "1234567890123456")
    if any(text in keyboard for keyboard in keyboards):
        return True
    return len({ord(b) - ord(a) for a, b in zip(text, text[1:], strict=False)}) == 1


def split_api_key(key: str) -> tuple[str, str] | None:
    """(key id, secret) of ``kontor_<key id>_<secret>``; None if it has another shape."""
    found = _KEY.fullmatch(key)
    return (found[1], found[2]) if found else None
