"""What is decided about callbacks: how they are signed, what an answer means, when they come again.

Pure: time and chance come in as arguments. Signatures follow the Standard Webhooks specification
1.0.0 (github.com/standard-webhooks/standard-webhooks, symmetric signatures).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

STATUS_CHANGED: Final = "order.payment_status_changed"
TEST: Final = "callback.test"
MAIL_PREFIX: Final = "relay."
MAIL_KINDS: Final = tuple(
    f"{MAIL_PREFIX}{event}"
    for event in ("delivered", "deferred", "bounced", "complained", "suppressed")
)
"""What became of a mail that another system handed to the relay (S96)."""
CHOICES: Final = (STATUS_CHANGED, *MAIL_KINDS)
"""What an address may hear of, as its owner chooses."""
FIRST_CHOICE: Final = (STATUS_CHANGED,)
KINDS: Final = (*CHOICES, TEST)
"""The types of messages; each has the same fields for good."""

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  says what it is, is none
SECRET_BYTES: Final = 32
SCHEME: Final = "v1"
MAX_BODY_BYTES: Final = 20_000
MAX_WORDS: Final = 200

ANSWERED: Final = ("delivered", "refused", "redirected", "gone")
UNREACHED: Final = ("timeout", "unreachable", "tls")
FORBIDDEN: Final = ("private", "port", "scheme", "login", "unreadable")
OUTCOMES: Final = (*ANSWERED, *UNREACHED, *FORBIDDEN)
"""How an attempt ends: somebody answered, nobody was reached, or the guard did not let it out."""

PAUSES: Final = (
    timedelta(seconds=5),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=15),
)
"""After the first, second, third attempt in a row that failed; the last one from then on."""
JITTER: Final = 0.1
LONGEST_WISH: Final = timedelta(hours=6)
FAILURES_IN_A_ROW: Final = 3
"""Who answers, but with an error, may only dislike these messages: others are still tried."""


# --- signing ------------------------------------------------------------------------------------


def secret_text(secret: bytes) -> str:
    """As it is shown to the merchant: ``whsec_`` and base64."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def signature(secret: bytes, message_id: str, seconds: int, body: bytes) -> str:
    """``v1,`` and the base64 of HMAC-SHA256 over id, timestamp and body, joined by full stops."""
    assert "." not in message_id, "else what is signed could be cut elsewhere"
    signed = b".".join([message_id.encode(), str(seconds).encode(), body])
    return f"{SCHEME},{base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()}"


def headers(
    message_id: str, at: datetime, body: bytes, secrets: Sequence[bytes]
) -> Mapping[str, str]:
    """What is sent with the body. Every secret signs, so that a change of them loses nothing."""
    seconds = int(at.timestamp())
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(
            signature(secret, message_id, seconds, body) for secret in secrets
        ),
    }


def body_of(kind: str, at: datetime, facts: Mapping[str, Any]) -> str:
    """The JSON of a message: ``type``, ``timestamp`` (when it happened) and ``data``."""
    moment = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    message = {"type": kind, "timestamp": moment, "data": facts}
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    assert len(body.encode()) <= MAX_BODY_BYTES, "every field of an order has its limit"
    return body


# --- answers ------------------------------------------------------------------------------------


def outcome_of(status: int) -> str:
    """What an HTTP status means: 2xx is delivered, 410 wants no more, the rest is a failure."""
    if 200 <= status < 300:
        return "delivered"
    if 300 <= status < 400:
        return "redirected"
    return "gone" if status == 410 else "refused"


def first_words(raw: bytes, hidden: Iterable[str] = ()) -> str:
    """The beginning of an answer as one line that can be shown; what is ``hidden`` is cut out."""
    text = raw.decode("utf-8", errors="replace").replace("\ufffd", "")
    for secret in hidden:
        text = text.replace(secret, "•••")
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= MAX_WORDS else line[: MAX_WORDS - 1].rstrip() + "…"


def pause_after(failures: int, wish_seconds: int | None, chance: float) -> timedelta:
    """How long to wait after so many attempts in a row that failed.

    ``wish_seconds`` is what the other side asked for (Retry-After) and counts up to LONGEST_WISH.
    ``chance`` in [-1, 1] moves it by JITTER, so that not everything comes back at once.
    """
    assert failures >= 1 and -1 <= chance <= 1
    pause = PAUSES[min(failures, len(PAUSES)) - 1] * (1 + JITTER * chance)
    return max(pause, min(timedelta(seconds=wish_seconds or 0), LONGEST_WISH))


def is_away(outcome: str, failures: int) -> bool:
    """Is it the address that fails, and not only what it was told?"""
    return outcome not in ANSWERED or failures >= FAILURES_IN_A_ROW
