"""The head of a mail that another system wrote: what is read of it, and what is added. Pure.

The body is never looked at and never changed (S87). What leaves is the mail as it came, without the
fields that name hidden recipients and old return paths, and with these in front: Received (RFC
5321, 4.4), and Message-ID, Date and List-Help where they are missing (RFC 6409, 8; RFC 2369).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.errors import MessageError
from email.header import decode_header, make_header
from email.utils import format_datetime, getaddresses

from server.mail.rules import AddressError, checked_address

MAX_HEAD_BYTES = 256 * 1024
MAX_FIELDS = 1000
MAX_SUBJECT = 500
NEVER_SENT = frozenset({b"bcc", b"resent-bcc", b"return-path"})

_END = re.compile(rb"\r\n\r\n|\A\r\n")
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,988}>")
_BARE_ENDS = re.compile(rb"\r(?!\n)|(?<!\r)\n")


class NotAccepted(ValueError):
    """A mail that is not taken: SMTP's code and words, with the enhanced status code in front."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(f"{code} {words}")
        self.code, self.words = code, words


@dataclass(frozen=True, slots=True)
class Head:
    """What a mail says of itself. ``fields`` are (name in lower case, the field with its CRLF).

    ``sender`` is the bare address of From, in ASCII. ``message_id`` with its angle brackets, ""
    where there is none that is one.
    """

    fields: tuple[tuple[bytes, bytes], ...]
    sender: str
    subject: str
    message_id: str

    @property
    def domain(self) -> str:
        return self.sender.rpartition("@")[2].lower()

    def has(self, name: str) -> bool:
        wanted = name.lower().encode()
        return any(one == wanted for one, _ in self.fields)


def with_crlf(raw: bytes) -> bytes:
    """Lines that end with CRLF. Only a mail that breaks RFC 5321, 2.3.8 is changed by it."""
    return _BARE_ENDS.sub(b"\r\n", raw) if _has_bare_ends(raw) else raw


def _has_bare_ends(raw: bytes) -> bool:
    return not raw.count(b"\r\n") == raw.count(b"\n") == raw.count(b"\r")


def read_head(raw: bytes) -> Head:
    """Raises NotAccepted for a mail that nobody could answer for: no head, no single sender."""
    fields = _fields(_head(raw))
    senders = [field for name, field in fields if name == b"from"]
    if len(senders) != 1:
        how = "no From field" if not senders else "more than one From field"
        raise NotAccepted(550, f"5.6.0 The mail has {how} (RFC 5322, 3.6.2)")
    ids = [field for name, field in fields if name == b"message-id"]
    subjects = [field for name, field in fields if name == b"subject"]
    found = _MESSAGE_ID.search(_value(ids[0])) if ids else None
    return Head(
        fields=fields,
        sender=_sender(_value(senders[0])),
        subject=_words(_value(subjects[0])) if subjects else "",
        message_id=found[0] if found else "",
    )


def _head(raw: bytes) -> bytes:
    """With its last CRLF; the empty line and all behind it follow, and are not copied."""
    end = _END.search(raw, 0, MAX_HEAD_BYTES)
    if end is None:
        if len(raw) > MAX_HEAD_BYTES:
            raise NotAccepted(550, "5.6.0 The head of the mail is too long")
        return raw if raw.endswith(b"\r\n") else raw + b"\r\n"
    return raw[: end.start() if end.start() == 0 else end.start() + 2]


def _fields(head: bytes) -> tuple[tuple[bytes, bytes], ...]:
    found: list[tuple[bytes, bytes]] = []
    for line in head.split(b"\r\n")[:-1]:
        if line[:1] in (b" ", b"\t") and found:
            name, field = found[-1]
            found[-1] = name, field + line + b"\r\n"
            continue
        start = _FIELD.match(line)
        if start is None:
            raise NotAccepted(550, "5.6.0 The head of the mail has a line that is no field")
        if len(found) >= MAX_FIELDS:
            raise NotAccepted(550, "5.6.0 The head of the mail has too many fields")
        found.append((start[1].lower(), line + b"\r\n"))
    return tuple(found)


def _value(field: bytes) -> str:
    text = field.partition(b":")[2].decode("utf-8", "replace")
    return " ".join(text.split())


def _sender(value: str) -> str:
    addresses = [address for _, address in getaddresses([value]) if address]
    if len(addresses) != 1:
        raise NotAccepted(550, "5.6.0 From must name one address")
    try:
        return checked_address(addresses[0])
    except AddressError:
        raise NotAccepted(550, "5.1.7 The address in From is none that can be used") from None


def _words(value: str) -> str:
    try:
        read = str(make_header(decode_header(value)))
    except (ValueError, LookupError, MessageError):
        read = value
    printable = "".join(c if c.isprintable() else " " for c in read)
    return " ".join(printable.split())[:MAX_SUBJECT]


# --- what leaves --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trace:
    """By whom, when and how a mail was handed over, for its Received field."""

    client_name: str
    client_address: str
    host: str
    protocol: str
    number: str
    at: datetime


def outgoing(
    raw: bytes, head: Head, trace: Trace, *, message_id: str, list_help: str = ""
) -> bytes:
    """The mail as it is sent, unsigned. ``list_help`` is a URL, put in where the mail has none."""
    added = [_received(trace)]
    if not head.message_id:
        added.append(_line("Message-ID", message_id))
    if not head.has("Date"):
        added.append(_line("Date", format_datetime(trace.at)))
    if list_help and not head.has("List-Help"):
        added.append(_line("List-Help", f"<{list_help}>"))
    kept = [field for name, field in head.fields if not _is_dropped(name, head)]
    return b"".join([*added, *kept, raw[len(_head(raw)) :] or b"\r\n"])


def _is_dropped(name: bytes, head: Head) -> bool:
    is_broken_id = name == b"message-id" and not head.message_id
    return name in NEVER_SENT or is_broken_id


def _received(trace: Trace) -> bytes:
    client = _plain(trace.client_name) or "unknown"
    address = _plain(trace.client_address)
    if ":" in address:
        address = f"IPv6:{address}"
    lines: Sequence[str] = (
        f"Received: from {client} ([{address}])",
        f"by {trace.host} with {trace.protocol} id {trace.number};",
        format_datetime(trace.at),
    )
    return ("\r\n\t".join(lines) + "\r\n").encode("ascii")


def _plain(text: str) -> str:
    """For a field of ours: nothing of a stranger's that could end a line or a comment."""
    return "".join(c for c in text if c.isascii() and (c.isalnum() or c in "-._:"))[:255]


def _line(name: str, value: str) -> bytes:
    return f"{name}: {value}\r\n".encode("ascii")
