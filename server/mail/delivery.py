"""From a row to the bytes that leave the house, and what is written down about it.

A file of its own because ``service`` queues and reads, while this is what a worker does with one
claimed mail. The order is: compose, choose the sender, build, sign; ``rounds`` hands it over; write
down. What a batch of mails needs from the database lies on the ``Desk``; nothing here asks it.
Before the first of a batch is handed over, their Message-IDs are settled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.headerregistry import Address
from email.utils import parseaddr
from functools import cache

from server.config import Settings, installed
from server.mail.dkim import SigningKey, sign
from server.mail.domains import return_paths, signing_keys
from server.mail.kinds import KINDS
from server.mail.models import Mail
from server.mail.replies import Verdict
from server.mail.rules import (
    AddressError,
    Facts,
    Message,
    Template,
    build_body,
    build_mime,
    checked_address,
    compose,
    mailbox,
    marked_as_sample,
    marked_as_test,
)
from server.mail.smtp import MayHaveArrived, NotEver, NotSent, NotSetUp
from server.mail.suppression import Block, blocked, suppress_reader
from server.mail.texts import own_templates
from server.mail.theme import Theme
from server.mail.verp import return_path

END_OF_HEAD = b"\r\n\r\n"
UNSETTLED_DOMAIN = "kontor.invalid"
"""RFC 2606: of a Message-ID until the mail is first written."""
POWERLESS = "test-"
"""Stands with the edition for the signed part of a link in the mails of a shop in test mode."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What the mails of one batch need, read before the first word with a mail server.

    ``keys``: by merchant (None is the house) and domain, of proven domains only (S17);
    ``return_paths``: names of their own that lead to where we take bounces.
    ``templates`` and ``blocked``: by the id of the mail. ``system``: name and address that a mail
    comes from where its shop's own domain is not proven. ``bounce_domain`` None: reports go to
    the sender, and nobody reads them here.
    """

    at: datetime
    system: tuple[str, str]
    keys: Mapping[tuple[int | None, str], SigningKey] = field(default_factory=dict)
    return_paths: Mapping[tuple[int | None, str], str] = field(default_factory=dict)
    templates: Mapping[int, Template] = field(default_factory=dict)
    blocked: Mapping[int, Block] = field(default_factory=dict)
    bounce_domain: str | None = None
    secret: str = field(default="", repr=False)

    @classmethod
    def of(cls, mails: Iterable[Mail], at: datetime, settings: Settings | None = None) -> Desk:
        """One query of each sort. Raises NotSetUp if KONTOR_MAIL_FROM is no address."""
        settings, batch = settings or installed(), list(mails)
        try:
            system = sender_of(settings.mail_from)
        except AddressError as problem:
            raise NotSetUp(f"KONTOR_MAIL_FROM: {problem}", pause_host=True) from None
        names = _names_of_senders(batch, system[1])
        return cls(
            at=at,
            system=system,
            keys=signing_keys(names),
            return_paths=return_paths(names) if settings.bounce_domain else {},
            templates=own_templates(batch),
            blocked=blocked(batch, at),
            bounce_domain=settings.bounce_domain,
            secret=settings.secret_key,
        )

    # --- as rounds.Desk

    def settle(self, mails: Sequence[Mail]) -> bool:
        return settle_message_ids(mails, self)

    def destination(self, mail: Mail) -> str:
        return destination(mail)

    def write(self, mail: Mail) -> Letter:
        return write_letter(mail, self)

    def note_success(self, mail: Mail, letter: Letter, answer: str, host: str) -> None:
        note_success(mail, letter, answer, host)

    def note_failure(self, mail: Mail, problem: NotSent, letter: Letter | None = None) -> None:
        note_failure(mail, problem, letter)

    def suppress(self, mail: Mail, evidence: str, at: datetime) -> None:
        suppress_reader(mail, "bounced", at=at, evidence=evidence)


@dataclass(frozen=True, slots=True)
class Letter:
    """A finished mail: two bare addresses for the envelope, the bytes, and the words in them."""

    sender: str
    recipient: str
    raw: bytes
    message: Message


def destination(mail: Mail) -> str:
    """The bare address that it goes to: of a shop in test mode not the recipient's (K66).

    Raises NotEver for a recipient that is none, also in test mode: what would not reach the
    customer is not shown as if it had (S5). Raises NotSetUp for a wrong address of the tester.
    """
    try:
        recipient = checked_address(mail.recipient)
    except AddressError as problem:
        raise NotEver(str(problem), Verdict("invalid_address", is_final=True)) from problem
    if mail.redirected_to is None:
        return recipient
    try:
        return checked_address(mail.redirected_to)
    except AddressError as problem:
        raise NotSetUp(f"Address of the shop's test mode: {problem}") from problem


def write_letter(mail: Mail, desk: Desk) -> Letter:
    """The bytes as they will be sent, signed where the domain of the sender is proven.

    Raises NotEver and NotSetUp. Changes nothing on the row.
    """
    recipient = destination(mail)
    block = desk.blocked.get(mail.id)
    if block is not None:
        failure = "opted_out" if block.is_opt_out else "blocked"
        raise NotEver(words_of_block(block), Verdict(failure, is_final=True))
    try:
        message = composed(mail, desk.templates.get(mail.id))
    except ValueError as problem:
        raise NotEver(str(problem), Verdict("not_writable", is_final=True)) from problem
    sender, reply_to, key = _sender(mail, desk)
    raw = build_mime(
        message,
        sender=sender,
        recipient=mailbox(recipient),
        reply_to=reply_to,
        message_id=mail.message_id,
        date=desk.at,
        extra_headers=_extra_headers(mail),
    )
    if key is not None:
        raw = sign(raw, key, desk.at)
    envelope = sender.addr_spec
    if desk.bounce_domain is not None:
        own = desk.return_paths.get((mail.merchant_id, key.domain)) if key is not None else None
        envelope = return_path(mail.id, desk.secret, own or desk.bounce_domain)
    return Letter(envelope, recipient, raw, message)


def settle_message_ids(mails: Iterable[Mail], desk: Desk) -> bool:
    """Give each its Message-ID for good, in the domain that From has now; False if all had one.

    To be committed before the first is handed over, so that every copy carries the same one (RFC
    5322, 3.6.4), also when the shop's own domain is proven, or not any more, before the next
    attempt. Sender addresses that are none are said when the mail is written.
    """
    is_changed = False
    for mail in mails:
        left, _, domain = mail.message_id.rpartition("@")
        if domain == f"{UNSETTLED_DOMAIN}>":
            with suppress(NotSetUp):
                mail.message_id = f"{left}@{_sender(mail, desk)[0].domain}>"
                is_changed = True
    return is_changed


def withhold_opted_out(mails: Iterable[Mail], desk: Desk) -> list[Mail]:
    """Those whose reader does not want their kind (S11), set aside; returns them."""
    unwanted = []
    for mail in mails:
        block = desk.blocked.get(mail.id)
        if block is not None and block.is_opt_out:
            mail.withhold(words_of_block(block))
            mail.failure = "opted_out"
            unwanted.append(mail)
    return unwanted


def words_of_block(block: Block) -> str:
    if block.is_opt_out:
        return "The customer does not want mails of this kind"
    why = f": {block.words}" if block.words else ""
    return f"Mails to this address are blocked ({block.reason}){why}"


def keep(mail: Mail, letter: Letter) -> None:
    """What it says, on the row."""
    message = letter.message
    mail.subject, mail.html, mail.text = message.subject, message.html, message.text


def note_success(mail: Mail, letter: Letter, answer: str, host: str) -> None:
    """It is the server's now: the answer, and the head as it was sent."""
    keep(mail, letter)
    _keep_head(mail, letter)
    mail.smtp_response, mail.sent_via, mail.delivery = answer, host, "accepted"
    mail.failure = None


def note_failure(mail: Mail, problem: NotSent, letter: Letter | None = None) -> None:
    """Why not, in one word. What may have arrived keeps its head, so that it can be shown."""
    mail.failure, mail.sent_via = problem.verdict.failure, None
    if letter is not None:
        keep(mail, letter)
        if isinstance(problem, MayHaveArrived):
            _keep_head(mail, letter)


def source_of(mail: Mail) -> bytes | None:
    """The mail as it was sent, byte for byte; None if it was not, or its content was erased.

    The head is kept, the body is built again from subject, text and html of the row and from the
    facts that its pictures are drawn from.
    """
    if mail.headers is None or mail.subject is None or mail.html is None or mail.text is None:
        return None
    try:
        pictures = composed(mail).inline
    except ValueError:
        return None
    message = Message(mail.subject, mail.text, mail.html, pictures)
    body = build_body(message).partition(END_OF_HEAD)[2]
    return mail.headers.encode("ascii") + END_OF_HEAD + body


def preview_mail(mail: Mail, template: Template | None = None) -> Message:
    """What a mail says, sent or not. Raises ValueError if one that was not cannot be written.

    A sent one is shown as it was sent; its picture is drawn again from the same facts.
    """
    if mail.html is None or mail.text is None or mail.subject is None:
        return composed(mail, template)
    try:
        pictures = composed(mail).inline
    except ValueError:  # its kind asks for other facts by now; the words still stand
        pictures = ()
    return Message(mail.subject, mail.text, mail.html, pictures)


def composed(mail: Mail, template: Template | None = None) -> Message:
    """Raises FactError, or ValueError if the theme is none."""
    message = compose(mail.kind, mail.language, _facts_as_read(mail), Theme(**mail.theme), template)
    if mail.is_test:
        return marked_as_sample(message)
    if mail.redirected_to is None:
        return message
    return marked_as_test(message, mail.language, mail.recipient)


def _facts_as_read(mail: Mail) -> Facts:
    """Who tries a shop out must not unsubscribe its customer (S11): his link has no power."""
    url = mail.facts.get("unsubscribe_url")
    if mail.redirected_to is None or not url:
        return mail.facts
    powerless = f"{str(url).rpartition('/')[0]}/{POWERLESS}{mail.language}"
    return mail.facts | {"unsubscribe_url": powerless}


@cache
def sender_of(address_line: str) -> tuple[str, str]:
    """``Kontor <kontor@example.org>`` to name and address. Raises AddressError."""
    name, address = parseaddr(address_line)
    return name, checked_address(address)


def _keep_head(mail: Mail, letter: Letter) -> None:
    mail.headers = letter.raw.partition(END_OF_HEAD)[0].decode("ascii")


# --- the sender ---------------------------------------------------------------------------------


def _names_of_senders(mails: Iterable[Mail], system: str) -> set[tuple[int | None, str]]:
    """Whose keys are wanted: by merchant and domain."""
    names: set[tuple[int | None, str]] = {(None, _domain(system))}
    for mail in mails:
        try:
            names.add((mail.merchant_id, _domain(checked_address(mail.sender_address))))
        except AddressError:
            continue  # none, or a wrong one, which is said when the mail is written
    return names


def _sender(mail: Mail, desk: Desk) -> tuple[Address, Address | None, SigningKey | None]:
    """From, Reply-To and the key that signs (S13, S17).

    The shop's own address only if its domain is proven; else the system's with the shop's name,
    and answers go to the shop.
    """
    name, system = desk.system
    own = mail.sender_address or system
    try:
        own = checked_address(own)
        reply_to = mailbox(mail.reply_to) if mail.reply_to else None
    except AddressError as problem:
        raise NotSetUp(f"Sender or reply address of the shop: {problem}") from problem
    if own != system:
        key = desk.keys.get((mail.merchant_id, _domain(own)))
        if key is not None:
            return mailbox(own, mail.sender_name), reply_to, key
        reply_to = reply_to or mailbox(own)
    house = desk.keys.get((None, _domain(system)))
    return mailbox(system, mail.sender_name or name), reply_to, house


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()


def _extra_headers(mail: Mail) -> dict[str, str]:
    """What mail programs and mailbox providers act on (RFC 2369, RFC 8058).

    What a customer can do without has a link to unsubscribe (S11, S12), a merchant's notice one
    that stops it (K38); who tries a mail out is not offered the customer's. Feedback-ID lets a
    provider count complaints for each kind and shop.
    """
    headers = {"Feedback-ID": f"{mail.kind}:{mail.merchant_id}:{mail.shop_id or 0}:kontor"}
    unsubscribe = _unsubscribe_url(mail)
    help_page = str(mail.facts.get("help_url", ""))
    if help_page:
        headers["List-Help"] = f"<{help_page}>"
    if unsubscribe:
        headers["List-Unsubscribe"] = f"<{unsubscribe}>"
        if unsubscribe.startswith("https://"):
            headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return headers


def _unsubscribe_url(mail: Mail) -> str:
    if mail.is_test or mail.redirected_to is not None:
        return ""
    fact = {"optional": "unsubscribe_url", "notice": "stop_url"}.get(KINDS[mail.kind].footer, "")
    return str(mail.facts.get(fact, ""))
