"""From a delivery to the bytes that leave, and what is written down about it.

``mail.rounds`` does the sending; this is its desk for the relay. The mail is written once for all
its recipients: signed with the key of its From's domain, with a return path for each (RFC 5321,
4.4). Nothing of its body is changed, so a signature of the system's own stays right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select

from server.config import Settings, installed
from server.db import db, now
from server.mail.delivery import sender_of, words_of_block
from server.mail.dkim import SigningKey, sign
from server.mail.domains import keys_of_rows, may_sign_rows
from server.mail.models import SendingDomain
from server.mail.replies import Verdict
from server.mail.rules import AddressError
from server.mail.smtp import NotEver, NotSent, NotSetUp
from server.mail.suppression import Block, blocked_addresses, suppress
from server.mail.verp import return_path
from server.relay.heads import NotAccepted, Trace, outgoing, read_head
from server.relay.links import help_url
from server.relay.models import RelayDelivery, RelayDomain, RelayEvent, RelayMessage

KIND = "relay"
POOL = "relay"
KEPT_BYTES = 64 * 1024 * 1024
"""Of written mails, for their other recipients."""
MAX_WORDS = 2_000


@dataclass(frozen=True, slots=True)
class Parcel:
    """A finished mail: two bare addresses for the envelope, and the bytes."""

    sender: str
    recipient: str
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _From:
    """What a sending domain of a connection needs: its key, and its List-Help."""

    key: SigningKey
    list_help: str


class RelayDesk:
    """``rounds.Desk`` for the deliveries of one batch. Reads contents one at a time."""

    def __init__(
        self,
        deliveries: Iterable[RelayDelivery],
        at: datetime,
        settings: Settings | None = None,
    ) -> None:
        self.at, self._settings = at, settings or installed()
        batch = list(deliveries)
        ids = {row.relay_message_id for row in batch}
        rows = db.session.scalars(select(RelayMessage).where(RelayMessage.id.in_(ids)))
        self._messages: Mapping[int, RelayMessage] = {row.id: row for row in rows}
        self._senders = _senders({row.connection_id for row in batch})
        self._written: dict[int, bytes] = {}

    # --- as rounds.Desk

    def settle(self, rows: Sequence[RelayDelivery]) -> bool:
        """The Message-ID is on the mail since it came."""
        return False

    def destination(self, row: RelayDelivery) -> str:
        return row.recipient

    def write(self, row: RelayDelivery) -> Parcel:
        return Parcel(self._return_path(row), row.recipient, self._raw(row))

    def note_success(self, row: RelayDelivery, letter: Parcel, answer: str, host: str) -> None:
        row.smtp_response, row.sent_via, row.delivery, row.failure = answer, host, "accepted", None
        add_event(row, "delivered", now(), words=answer, host=host)

    def note_failure(
        self, row: RelayDelivery, problem: NotSent, letter: Parcel | None = None
    ) -> None:
        row.failure, row.sent_via = problem.verdict.failure, None
        if letter is not None:
            row.smtp_response = str(problem)
        kind = "bounced" if isinstance(problem, NotEver) else "deferred"
        add_event(row, kind, now(), words=str(problem))

    def suppress(self, row: RelayDelivery, evidence: str, at: datetime) -> None:
        suppress(row.merchant_id, row.recipient, "bounced", at=at, evidence=evidence)

    # --- the mail

    def _raw(self, row: RelayDelivery) -> bytes:
        message = self._messages[row.relay_message_id]
        known = self._written.get(message.id)
        if known is not None:
            return known
        raw = self._write(message)
        if sum(map(len, self._written.values())) + len(raw) > KEPT_BYTES:
            self._written.clear()
        self._written[message.id] = raw
        return raw

    def _write(self, message: RelayMessage) -> bytes:
        sender = self._senders.get((message.connection_id, message.domain))
        if sender is None:
            raise NotSetUp(f"The DKIM key of {message.domain} is not in the DNS any more")
        content = db.session.scalar(
            select(RelayMessage.content).where(RelayMessage.id == message.id)
        )
        if content is None:
            raise NotEver("The content is not kept any more", Verdict("not_writable", True))
        try:
            head = read_head(content)
        except NotAccepted as problem:  # it was right when it came
            raise NotEver(str(problem), Verdict("not_writable", True)) from problem
        trace = Trace(
            message.client_name,
            message.client_address,
            self._settings.relay_host or "localhost",
            "HTTP" if message.origin == "http" else "ESMTPSA",
            str(message.id),
            message.received_at,
        )
        raw = outgoing(
            content, head, trace, message_id=message.message_id, list_help=sender.list_help
        )
        return sign(raw, sender.key, self.at)

    def _return_path(self, row: RelayDelivery) -> str:
        if self._settings.bounce_domain is None:
            try:
                return sender_of(self._settings.mail_from)[1]
            except AddressError as problem:
                raise NotSetUp(f"KONTOR_MAIL_FROM: {problem}", pause_host=True) from None
        secret = self._settings.secret_key
        return return_path(row.id, secret, self._settings.bounce_domain, "r")


def _senders(connection_ids: Iterable[int]) -> dict[tuple[int, str], _From]:
    """By connection and domain, of those that may sign now."""
    query = (
        select(RelayDomain, SendingDomain)
        .join(SendingDomain, SendingDomain.id == RelayDomain.sending_domain_id)
        .where(RelayDomain.connection_id.in_(list(connection_ids)))
    )
    rows = db.session.execute(query).all()
    domains = list({domain.id: domain for _, domain in rows}.values())
    signing = may_sign_rows(domains)
    keys = keys_of_rows([domain for domain in domains if domain.id in signing])
    return {
        (row.connection_id, domain.name): _From(keys[domain.id], row.list_help or help_url(row.id))
        for row, domain in rows
        if domain.id in keys
    }


# --- what is written down -----------------------------------------------------------------------


def add_event(
    row: RelayDelivery, kind: str, at: datetime, *, words: str = "", code: str = "", host: str = ""
) -> None:
    """One line of the delivery's path; counted a moment later."""
    db.session.add(
        RelayEvent(
            merchant_id=row.merchant_id,
            connection_id=row.connection_id,
            delivery_id=row.id,
            at=at,
            kind=kind,
            code=code[:16],
            words=words[:MAX_WORDS],
            host=host[:253],
        )
    )


def withhold_suppressed(rows: Sequence[RelayDelivery], at: datetime) -> list[RelayDelivery]:
    """Those whose address gets no mails of this merchant, set aside; returns them."""
    wanted = {row.id: (row.merchant_id, row.recipient) for row in rows}
    blocks: Mapping[int, Block] = blocked_addresses(wanted, KIND, at)
    held = [row for row in rows if row.id in blocks]
    for row in held:
        words = words_of_block(blocks[row.id])
        row.withhold(words)
        row.failure = "blocked"
        add_event(row, "suppressed", at, words=words)
    return held
