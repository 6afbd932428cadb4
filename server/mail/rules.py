"""Facts to a mail: words, HTML, MIME. Pure; reads only the compiled templates and their words.

Facts are finished strings ("1.284,60 €"), because templates do no arithmetic. They are put into
HTML that was compiled long before (``build.py``), so neither MJML nor CSS ever meets a customer's
name, and the filler knows names only: there is no expression a text could smuggle in.

    {{ name }}               the fact
    {{#name}} ... {{/name}}  only if the fact is there; once for each item if it is a list
    {{^name}} ... {{/name}}  only if it is not there
"""

from __future__ import annotations

import base64
import binascii
import re
import textwrap
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from email.header import Header
from email.headerregistry import Address
from email.utils import format_datetime
from functools import cache, lru_cache
from html import escape
from pathlib import Path

from email_validator import EmailNotValidError, validate_email

from server.mail.codes import girocode_png, swiss_qr_png
from server.mail.kinds import KINDS as KINDS  # noqa: PLC0414  the kinds are asked for here
from server.mail.languages import day, editions_for, language_of, money
from server.mail.theme import Theme, palette
from server.mail.wording import labels_of, put_in, words_of

COMPILED = Path(__file__).parent / "compiled"
TEST_WORDS = {
    "de": "Test an",
    "en": "Test to",
    "fr": "Essai pour",
    "it": "Prova per",
    "nl": "Test aan",
    "es": "Prueba para",
}
TEXT_COLUMNS = 74
LINE_BYTES = 76  # RFC 2045, 6.7, and RFC 2047, 2
MAX_FACT_LENGTH = 1000
OF_SEVERAL_LINES = frozenset({"legal_line"})
"""Facts whose line breaks are shown; in all others they are spaces."""
MAX_LINK_LENGTH = 800  # some also stand in a header field
MAX_LIST_ITEMS = 50
MAX_SUBJECT_LENGTH = 200
MAX_DISPLAY_NAME_LENGTH = 100
GIROCODE_ID = "girocode@kontor"
SWISS_QR_ID = "swissqr@kontor"

Facts = Mapping[str, str | list[dict[str, str]]]


class FactError(ValueError):
    """The facts do not fit the kind: one is missing, unknown, empty or not an address."""


class AddressError(ValueError):
    """Not an e-mail address that mail can be sent to."""


class HeaderError(ValueError):
    """A header field with a name or value that has no place in a mail."""


def check_fact_names(kind: str, facts: Facts) -> None:
    """Raises FactError if a fact is missing or none of this kind's: a mistake of the caller.

    Whether a fact is *empty* is decided when the mail is composed, so that an order with a gap
    is stored and its mail shows what is missing.
    """
    known = KINDS.get(kind)
    if known is None:
        raise FactError(f"there is no kind of mail called {kind!r}")
    for name in sorted(known.required - facts.keys()):
        raise FactError(f"{kind} needs the fact {name!r}")
    for name in sorted(facts.keys() - known.required - known.optional):
        raise FactError(f"{kind} knows no fact {name!r}")


# --- composing --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InlineImage:
    """A PNG shown inside the HTML by its Content-ID (RFC 2392, without the angle brackets)."""

    content_id: str
    filename: str
    png: bytes


@dataclass(frozen=True, slots=True)
class Message:
    subject: str
    text: str
    html: str
    inline: tuple[InlineImage, ...]


def compose(
    kind: str, edition: str, facts: Facts, theme: Theme, template: Template | None = None
) -> Message:
    """The finished mail, with a merchant's own ``template`` or ours. Raises FactError."""
    check_fact_names(kind, facts)
    editions = editions_for(KINDS[kind].reader)
    if edition not in editions:
        raise FactError(f"there are mails in {', '.join(editions)}, not in {edition!r}")
    _check_facts(kind, facts)
    template = template or load_template(kind, edition)
    absent: Facts = dict.fromkeys(KINDS[kind].optional - facts.keys(), "")
    values: Facts = {**absent, **facts}
    colours = {f"theme.{name}": value for name, value in palette(theme).items()}
    picture = {
        "theme.header_image": escape(theme.header_image),
        "theme.header_height": str(theme.header_height_pixels),
    }
    subject = " ".join(fill(template.subject, values).split())
    return Message(
        subject=subject[:MAX_SUBJECT_LENGTH],
        text=wrap(fill(template.text, values)),
        html=fill(template.html, {**values, **colours, **picture}, _quote),
        inline=tuple(_codes(values)),
    )


def _codes(values: Facts) -> Iterator[InlineImage]:
    """The pictures of the payment's codes. Raises FactError if a text is too long for its code."""
    for name, content_id, draw in (
        ("girocode", GIROCODE_ID, girocode_png),
        ("swiss_qr", SWISS_QR_ID, swiss_qr_png),
    ):
        payload = values.get(name)
        if isinstance(payload, str) and payload:
            try:
                yield InlineImage(content_id, f"{name.replace('_', '-')}.png", draw(payload))
            except ValueError as problem:
                raise FactError(f"{name!r}: {problem}") from problem


def marked_as_test(message: Message, edition: str, recipient: str) -> Message:
    """The same mail, with whom it would have gone to before its subject (K66)."""
    subject = f"[{TEST_WORDS[language_of(edition)]} {clean(recipient)}] {message.subject}"
    return replace(message, subject=subject[:MAX_SUBJECT_LENGTH])


def marked_as_sample(message: Message) -> Message:
    """A mail about an order that was invented to try it (S9)."""
    return replace(message, subject=f"[Test] {message.subject}"[:MAX_SUBJECT_LENGTH])


def _check_facts(kind: str, facts: Facts) -> None:
    for name, value in facts.items():
        if not value and name in KINDS[kind].required:
            raise FactError(f"{kind} cannot be written without {name!r}")
        if isinstance(value, list):
            _check_items(kind, name, value)
        else:
            _check_fact(name, value)


def _check_items(kind: str, name: str, items: list[dict[str, str]]) -> None:
    if len(items) > MAX_LIST_ITEMS:
        raise FactError(f"{name!r} has {len(items)} items; {MAX_LIST_ITEMS} is the most")
    for item in items:
        for wrong in sorted(item.keys() ^ KINDS[kind].items):
            raise FactError(f"an item of {name!r} has or lacks {wrong!r}")
        for part, value in item.items():
            _check_fact(f"{name}.{part}", value)


def _check_fact(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise FactError(f"{name!r} must be a finished string, not {type(value).__name__}")
    is_link = len(value) <= MAX_LINK_LENGTH and _LINK.fullmatch(value)
    if name.endswith("_url") and value and not is_link:
        raise FactError(f"{name!r} must be a web or mail address")


_LINK = re.compile(r"(?:https?://|mailto:)[!-;=?-~]+")


# --- filling ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Name:
    name: str


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    if_absent: bool
    body: tuple[Node, ...]


Node = str | Name | Part
Quote = Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class Template:
    subject: tuple[Node, ...]
    text: tuple[Node, ...]
    html: tuple[Node, ...]


@cache
def load_template(kind: str, edition: str) -> Template:
    """What ``build.py`` made of the kind, with the words of the edition."""
    words, labels = words_of(kind, edition), labels_of(edition)
    html = put_in(skeleton(kind, "html"), words, labels, "html")
    return template_of(html, put_in(skeleton(kind, "txt"), words, labels, "txt"))


@cache
def skeleton(kind: str, form: str) -> str:
    """The compiled template of a kind, without words; ``form`` is ``html`` or ``txt``."""
    return (COMPILED / f"{kind}.{form}").read_text("utf-8")


def template_of(html: str, text: str) -> Template:
    """The text's first line is the subject, its second is empty. ValueError if a part is open."""
    subject, _, rest = text.partition("\n\n")
    return Template(parse(subject), parse(rest), parse(html))


_MARK = re.compile(r"\{\{([#^/]?) ?([a-z_]+(?:\.[a-z_]+)?) ?\}\}")


def parse(source: str) -> tuple[Node, ...]:
    """Splits a template at its marks. Raises ValueError if a part is not closed where it ends."""
    open_parts: list[tuple[str, bool, list[Node]]] = [("", False, [])]
    at = 0
    for mark in _MARK.finditer(source):
        open_parts[-1][2].append(source[at : mark.start()])
        at = mark.end()
        sign, name = mark[1], mark[2]
        if sign in ("#", "^"):
            open_parts.append((name, sign == "^", []))
        elif sign == "/":
            opened, if_absent, body = open_parts.pop()
            if opened != name:
                raise ValueError(f"{{{{/{name}}}}} closes {opened or 'nothing'!r}")
            open_parts[-1][2].append(Part(name, if_absent, tuple(body)))
        else:
            open_parts[-1][2].append(Name(name))
    if len(open_parts) > 1:
        raise ValueError(f"{{{{#{open_parts[-1][0]}}}}} is never closed")
    return (*open_parts[0][2], source[at:])


def fill(nodes: Sequence[Node], values: Facts, quote: Quote = lambda _, value: value) -> str:
    """Values in the place of marks. An unknown mark raises FactError: never an empty place."""
    return "".join(_filled(nodes, values, quote))


def _filled(nodes: Sequence[Node], values: Facts, quote: Quote) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, str):
            yield node
        elif isinstance(node, Name):
            yield quote(node.name, _shown(node.name, _value(node.name, values)))
        else:
            yield from _part(node, values, quote)


def _part(part: Part, values: Facts, quote: Quote) -> Iterator[str]:
    if part.name not in values:
        raise FactError(f"no fact is called {part.name!r}")
    value = values[part.name]
    if bool(value) is part.if_absent:
        return
    items = value if isinstance(value, list) and value else [{}]
    for item in items:
        yield from _filled(part.body, {**values, **item}, quote)


def _value(name: str, values: Facts) -> str:
    if name not in values:
        raise FactError(f"no fact is called {name!r}")
    value = values[name]
    if not isinstance(value, str):
        raise FactError(f"{name!r} is a list and cannot stand in a line")
    return value


def _quote(name: str, value: str) -> str:
    # Theme values are validated colours, which also stand in <style>, where nothing is unescaped.
    return value if name.startswith("theme.") else escape(value, quote=True).replace("\n", "<br>")


_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def clean(value: str) -> str:
    """Controls and changes of writing direction become spaces: they forge headers and amounts."""
    return _UNPRINTABLE.sub(" ", value)


def _shown(name: str, value: str) -> str:
    lines = value.split("\n") if name in OF_SEVERAL_LINES else [value]
    return _shortened("\n".join(map(clean, lines)))


def _shortened(value: str) -> str:
    """A shop may answer with a whole page as its reason; the row keeps it, the mail cuts it."""
    return value if len(value) <= MAX_FACT_LENGTH else value[: MAX_FACT_LENGTH - 1] + "…"


def wrap(text: str) -> str:
    """Paragraphs folded at TEXT_COLUMNS; indented lines and links stay whole."""
    lines: list[str] = []
    for line in text.split("\n"):
        whole = not line.strip() or line.startswith(" ") or _LINK.fullmatch(line.strip())
        lines += (
            [line.rstrip()]
            if whole
            else textwrap.wrap(line, TEXT_COLUMNS, break_long_words=False, break_on_hyphens=False)
        )
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") + "\n"


# --- finished strings -------------------------------------------------------------------------


def payment_facts(
    *,
    language: str,
    amount: Decimal,
    currency: str,
    creditor: str,
    iban: str,
    bic: str,
    payment_reference: str,
    payable_until: date | None = None,
) -> dict[str, str]:
    """The facts of a transfer, the same in every kind that asks for one.

    Keys: amount_due creditor iban bic payment_reference payable_until; what does not exist is
    empty. The text of the QR code, ``girocode``, is for the caller to add: it is a payment
    standard, which this room does not know.
    """
    return {
        "amount_due": money(amount, currency, language),
        "creditor": creditor,
        "iban": grouped_iban(iban),
        "bic": bic,
        "payment_reference": payment_reference,
        "payable_until": day(payable_until, language) if payable_until else "",
    }


def grouped_iban(iban: str) -> str:
    """In fours, with plain spaces: banking forms take them when pasted.

    >>> grouped_iban("DE89370400440532013000")
    'DE89 3704 0044 0532 0130 00'
    """
    compact = "".join(iban.split()).upper()
    return " ".join(compact[at : at + 4] for at in range(0, len(compact), 4))


# --- MIME -------------------------------------------------------------------------------------

_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,60}")
_HEADER_VALUE = re.compile(r"[ -~]{1,900}")  # RFC 5322 ends a line at 998
_MESSAGE_ID = re.compile(r"<[!-;=?A-~]+@[!-;=?A-~]+>")


@lru_cache(maxsize=4096)
def checked_address(address: str) -> str:
    """The address as ASCII (IDNA domain). Raises AddressError; asks no DNS.

    Letters outside ASCII before the @ need SMTPUTF8, which few servers offer: not supported.
    """
    try:
        found = validate_email(
            address, check_deliverability=False, strict=True, allow_smtputf8=False
        )
    except EmailNotValidError as problem:
        raise AddressError(f"{clean(address)!r} is not a mail address: {problem}") from None
    assert found.ascii_email is not None, "without SMTPUTF8 every address has an ASCII form"
    return found.ascii_email


def mailbox(address: str, display_name: str = "") -> Address:
    """One address for a header field: a name cannot break out of it or bring a second one."""
    name = " ".join(clean(display_name).split())[:MAX_DISPLAY_NAME_LENGTH].rstrip()
    return Address(name, addr_spec=checked_address(address))


def build_mime(
    message: Message,
    *,
    sender: Address,
    recipient: Address,
    reply_to: Address | None,
    message_id: str,
    date: datetime,
    extra_headers: Mapping[str, str],
) -> bytes:
    """The bytes for SMTP: CRLF, seven bits, no line over 76 bytes (RFC 5322, 2045, 2046).

    multipart/alternative holds the text first, then the HTML, which is multipart/related with
    its picture. Raises HeaderError for a header that could carry another one.
    """
    if not _MESSAGE_ID.fullmatch(message_id):
        raise HeaderError(f"{clean(message_id)!r} is not a message id")
    fields = [
        ("Subject", _words("Subject", message.subject)),
        ("From", _address("From", sender)),
        ("To", _address("To", recipient)),
        *([("Reply-To", _address("Reply-To", reply_to))] if reply_to else []),
        ("Date", format_datetime(date)),
        ("Message-ID", message_id),
        # RFC 3834 and Exchange: no out-of-office note shall answer a machine.
        ("Auto-Submitted", "auto-generated"),
        ("X-Auto-Response-Suppress", "OOF, AutoReply"),
        ("MIME-Version", "1.0"),
    ]
    taken = {name.lower() for name, _ in fields} | {"cc", "bcc", "sender", "reply-to"}
    for name, value in extra_headers.items():
        _check_header(name, value, taken)
        fields.append((name, value))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields).encode("ascii")
    return head + build_body(message)


def build_body(message: Message) -> bytes:
    """The part of the mail from its Content-Type on: the same for the same message, always."""
    html = _text_part("html", message.html)
    if message.inline:
        images = [_image_part(image) for image in message.inline]
        html = _multipart('related; type="text/html"', "=_kontor_related", [html, *images])
    text = _text_part("plain", message.text)
    return _multipart("alternative", "=_kontor_alternative", [text, html])


def _check_header(name: str, value: str, taken: Container[str]) -> None:
    lower = name.lower()
    if not _HEADER_NAME.fullmatch(name) or lower in taken or lower.startswith("content-"):
        raise HeaderError(f"{clean(name)!r} cannot be added to a mail")
    if not _HEADER_VALUE.fullmatch(value):
        raise HeaderError(f"the header {name} must be one line of ASCII, at most 900 characters")


def _address(field: str, address: Address) -> str:
    if not address.display_name or address.display_name.isascii():
        return str(address)
    return f"{_words(field, address.display_name)}\r\n <{address.addr_spec}>"


def _words(field: str, text: str) -> str:
    """Folded, and as encoded words (RFC 2047) from end to end if it is not plain ASCII.

    By the older of the standard library's two encoders: the newer one, which ``EmailMessage``
    uses, mixes plain and encoded words and adds a blank between some of them.
    """
    line = clean(text)
    charset = "us-ascii" if line.isascii() and "=?" not in line else "utf-8"
    header = Header(line, charset, maxlinelen=LINE_BYTES, header_name=field)
    return header.encode(linesep="\r\n")


# Parts are put together by hand: the email package takes 4 ms for them, more than all the rest.


def _multipart(subtype: str, boundary: str, parts: Sequence[bytes]) -> bytes:
    """``boundary`` holds "=_", which neither quoted-printable nor base64 can (RFC 2045, 6.7)."""
    head = f'Content-Type: multipart/{subtype};\r\n boundary="{boundary}"\r\n\r\n'.encode()
    line = b"--" + boundary.encode()
    return head + b"".join(line + b"\r\n" + part + b"\r\n" for part in parts) + line + b"--\r\n"


def _text_part(subtype: str, text: str) -> bytes:
    head = (
        f'Content-Type: text/{subtype}; charset="utf-8"\r\n'
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    )
    return head.encode() + _crlf(binascii.b2a_qp(text.encode()))


def _image_part(image: InlineImage) -> bytes:
    head = (
        f'Content-Type: image/png; name="{image.filename}"\r\n'
        "Content-Transfer-Encoding: base64\r\n"
        f"Content-ID: <{image.content_id}>\r\n"
        f'Content-Disposition: inline; filename="{image.filename}"\r\n\r\n'
    )
    return head.encode() + _crlf(base64.encodebytes(image.png))


def _crlf(lines: bytes) -> bytes:
    return b"\r\n".join(lines.splitlines())
