"""What gives a customer away in words that somebody else wrote, and where such words may stand.

A file of its own because texts of banks, shops and mail servers quote people without saying so:
there is no key by which to find them, only what the customer is called.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, String, cast, delete, func, or_, select, update
from sqlalchemy.orm import aliased

from server.banking.models import (
    AccountMovement,
    BankConnection,
    IgnoreRule,
    Posting,
    Statement,
)
from server.callbacks.models import Callback
from server.callbacks.rules import MAIL_KINDS
from server.collection.models import CollectionPartner
from server.db import db
from server.dunning.models import DunningRun
from server.letters.models import PrintService
from server.mail.models import Mail, MailHost, MailReport, SendingDomain
from server.matching.models import ForgottenPayer
from server.merchants.models import ApiKey, IdempotencyKey
from server.orders.models import MatchRequest, Order
from server.refunds.models import RefundBatch
from server.relay.models import RelayDelivery, RelayEvent, RelayMessage
from server.shops.models import OrderRequest, PaymentUpdate, Shop, ShopConnection

SHORTEST_TRACE: Final = 4
"""A shorter word of a name would find half of all notices."""
ERASED: Final = "personal data was removed"
ON_ITS_WAY: Final = ("queued", "running")
NOBODY: Final = "#"
"""With its id, the recipient of a relayed mail whose address was removed; each is one of its
own."""
FORGOTTEN_ANSWER: Final = b"{}"

QUOTING: Final[tuple[tuple[Any, str, Any], ...]] = (
    (Shop, "error", None),
    (ShopConnection, "error", None),
    (BankConnection, "error", None),
    (PrintService, "error", None),
    (CollectionPartner, "error", None),
    (RefundBatch, "error", None),
    (MatchRequest, "error", None),
    (DunningRun, "error", None),
    (SendingDomain, "error", None),
    (PaymentUpdate, "error", None),
    (OrderRequest, "error", None),
    (Callback, "error", None),
    (Callback, "answer", ""),
    (Statement, "error", None),
    (Statement, "filename", ""),
    (AccountMovement, "reference", ""),
)
"""Columns of a merchant's rows in which others quote, and what stands there afterwards."""


@dataclass(frozen=True, slots=True)
class Traces:
    """``words`` are names, e-mail addresses and IBANs, each at least SHORTEST_TRACE long;
    ``addresses`` those of them that mails went to, in lower case; ``payers`` the names and IBANs
    that his payments came under, as the bank wrote them."""

    words: frozenset[str]
    addresses: frozenset[str]
    payers: frozenset[str]

    def __or__(self, other: Traces) -> Traces:
        return Traces(
            self.words | other.words,
            self.addresses | other.addresses,
            self.payers | other.payers,
        )

    def in_text(self, column: Any) -> ColumnElement[bool]:
        return _contains(func.lower(column), (word.lower() for word in self.words))

    def in_json(self, column: Any) -> ColumnElement[bool]:
        """JSON is stored with what is no ASCII escaped."""
        escaped = (json.dumps(word.lower())[1:-1] for word in self.words)
        plain = (json.dumps(word)[1:-1].lower() for word in self.words)
        return _contains(func.lower(cast(column, String)), {*escaped, *plain})

    def in_bytes(self, column: Any) -> ColumnElement[bool]:
        """In UTF-8 or as banks and spreadsheets write it."""
        encodings = ("utf-8", "latin-1", "utf-16-le")
        shown = {
            _shown(word.lower().encode(encoding, "replace"))
            for word in self.words
            for encoding in encodings
        } | {
            _shown(word.encode(encoding, "replace")).lower()
            for word in self.words
            for encoding in encodings
        }
        return _contains(func.lower(func.encode(column, "escape")), shown)


def _contains(column: Any, words: Iterable[str]) -> ColumnElement[bool]:
    return or_(*(column.contains(word, autoescape=True) for word in sorted(set(words))))


def _shown(raw: bytes) -> str:
    r"""As Postgres writes bytes with ``encode(…, 'escape')``: ``\344`` for what is no ASCII."""
    return "".join(
        "\\\\" if byte == 0x5C else chr(byte) if 0 < byte < 0x80 else f"\\{byte:03o}"
        for byte in raw
    )


def traces_of(order: Order, postings: Collection[Posting], mailed: Collection[str]) -> Traces:
    """Of an order as it is now; ``mailed``: the addresses its mails went to, perhaps of before."""
    payers = {one.counterparty_name or "" for one in postings} | {
        one.counterparty_iban or "" for one in postings
    }
    addresses = {address.lower() for address in (*mailed, order.customer_email or "") if address}
    names = {order.customer_name, order.additional_name or "", *_names_in(order.wire)}
    words = names | payers | addresses | {_in_fours(one) for one in payers if _is_iban(one)}
    return Traces(
        frozenset(word for word in words if len(word) >= SHORTEST_TRACE),
        frozenset(addresses),
        frozenset(payer for payer in payers if payer),
    )


def _names_in(wire: dict[str, Any]) -> Iterable[str]:
    for part in ("billing_address", "shipping_address"):
        address = wire.get(part) or {}
        first, last = address.get("first_name") or "", address.get("last_name") or ""
        if first and last:
            yield f"{first} {last}"
        yield address.get("company") or ""


def _is_iban(text: str) -> bool:
    return text[:2].isalpha() and text[2:4].isdigit()


def _in_fours(iban: str) -> str:
    return " ".join(iban[place : place + 4] for place in range(0, len(iban), 4))


# --- where nobody says whom it is about ----------------------------------------------------------


def sweep(merchant_ids: Collection[int], traces: Traces) -> None:
    """Take the words out of everything that may quote them, of these merchants and of the house."""
    if traces.words:
        for table, name, instead in QUOTING:
            column = getattr(table, name)
            whose = table.merchant_id.in_(merchant_ids)
            db.session.execute(
                update(table).where(whose, traces.in_text(column)).values({name: instead})
            )
        _sweep_problems(merchant_ids, traces)
        _sweep_answers(merchant_ids, traces)
        _drop_rules(merchant_ids, traces)
    if traces.addresses:
        only_addresses = Traces(traces.addresses, traces.addresses, frozenset())
        _sweep_hosts(merchant_ids, only_addresses)
        _sweep_relay(merchant_ids, traces.addresses)
    _forget_payers(merchant_ids, traces.payers)


def _sweep_problems(merchant_ids: Collection[int], traces: Traces) -> None:
    """Lines that could not be read are kept as the bank wrote them; how many there were stays."""
    quoting = Statement.merchant_id.in_(merchant_ids) & traces.in_json(Statement.problems)
    db.session.execute(update(Statement).where(quoting).values(problems=[]))


def _sweep_answers(merchant_ids: Collection[int], traces: Traces) -> None:
    """The key itself stays: the request that carried it must not be carried out twice."""
    keys = select(ApiKey.id).where(ApiKey.merchant_id.in_(merchant_ids))
    quoting = IdempotencyKey.api_key_id.in_(keys) & traces.in_bytes(IdempotencyKey.body)
    db.session.execute(update(IdempotencyKey).where(quoting).values(body=FORGOTTEN_ANSWER))


def _drop_rules(merchant_ids: Collection[int], traces: Traces) -> None:
    quoting = IgnoreRule.merchant_id.in_(merchant_ids) & traces.in_text(IgnoreRule.value)
    db.session.execute(delete(IgnoreRule).where(quoting))


def _sweep_hosts(merchant_ids: Collection[int], traces: Traces) -> None:
    """Mail servers quote the address that they refuse; some reports name no mail of ours."""
    db.session.execute(
        update(MailHost).where(traces.in_text(MailHost.because)).values(because=None)
    )
    of_none = MailReport.mail_id.is_(None) & (
        MailReport.merchant_id.is_(None) | MailReport.merchant_id.in_(merchant_ids)
    )
    quoting = traces.in_text(MailReport.words) | traces.in_bytes(MailReport.raw)
    empty_reports(of_none & quoting)


def empty_reports(condition: ColumnElement[bool]) -> None:
    """What came back quotes the address, and often the whole mail."""
    db.session.execute(update(MailReport).where(condition).values(raw=b"", words=""))


def _sweep_relay(merchant_ids: Collection[int], addresses: Collection[str]) -> None:
    his = select(RelayDelivery.id).where(
        RelayDelivery.merchant_id.in_(merchant_ids),
        func.lower(RelayDelivery.recipient).in_(addresses),
        RelayDelivery.status.not_in(ON_ITS_WAY),
    )
    empty_relayed(db.session.scalars(his).all())
    told = func.lower(Callback.body)
    db.session.execute(
        delete(Callback).where(
            Callback.merchant_id.in_(merchant_ids),
            Callback.kind.in_(MAIL_KINDS),
            _contains(told, (json.dumps(address) for address in addresses)),
        )
    )


def empty_relayed(delivery_ids: Collection[int]) -> None:
    """Mails of other systems; how many there were, and when, stays. What others are still to get
    of the same mail keeps its content until then."""
    of_these = RelayDelivery.id.in_(delivery_ids)
    still_goes = aliased(RelayDelivery)
    is_needed = select(still_goes.id).where(
        still_goes.relay_message_id == RelayMessage.id, still_goes.status.in_(ON_ITS_WAY)
    )
    messages = select(RelayDelivery.relay_message_id).where(of_these)
    db.session.execute(
        update(RelayMessage)
        .where(RelayMessage.id.in_(messages), ~is_needed.exists())
        .values(subject="", content=None)
        .execution_options(synchronize_session=False)
    )
    db.session.execute(
        update(RelayEvent).where(RelayEvent.delivery_id.in_(delivery_ids)).values(words="")
    )
    db.session.execute(
        update(RelayDelivery)
        .where(of_these)
        .values(
            recipient=func.concat(NOBODY, RelayDelivery.id),
            smtp_response=None,
            delivery_words=None,
            error=ERASED,
        )
    )


def _forget_payers(merchant_ids: Collection[int], payers: Collection[str]) -> None:
    """That a payer is to be forgotten need not be known once nothing of him is left to learn."""
    is_still_known = (
        select(Posting.id)
        .where(
            Posting.merchant_id == ForgottenPayer.merchant_id,
            (Posting.counterparty_iban == ForgottenPayer.payer)
            | (Posting.counterparty_name == ForgottenPayer.payer),
        )
        .exists()
    )
    db.session.execute(
        delete(ForgottenPayer).where(
            ForgottenPayer.merchant_id.in_(merchant_ids),
            ForgottenPayer.payer.in_(payers),
            ~is_still_known,
        )
    )


def notices_quoting(
    merchant_ids: Collection[int], order_ids: Collection[int], traces: Traces
) -> Any:
    """Of ``Mail``: notices that name him, about no order or about one that shares his money."""
    about = Mail.order_id.is_(None) | Mail.order_id.in_(order_ids)
    return (
        Mail.merchant_id.in_(merchant_ids)
        & about
        & (traces.in_text(Mail.text) | traces.in_json(Mail.facts))
    )
