"""A whole life of an order, told so that a person stands in every place where one can stand."""

from __future__ import annotations

import io
import os
import time
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from pypdf import PdfWriter
from sqlalchemy import update

from server import jobs
from server.banking.models import (
    AccountMovement,
    BankAccount,
    BankConnection,
    IgnoreRule,
    Posting,
    Statement,
)
from server.callbacks.models import Callback, CallbackUrl
from server.collection.models import CollectionPartner
from server.collection.partners import folder_of
from server.collection.rules import reference_of
from server.config import installed
from server.db import db
from server.dunning.models import DunningRun
from server.letters.adapters import Parcel
from server.letters.adapters.folder import Folder
from server.letters.models import Letter, PrintService
from server.mail.models import Mail, MailHost, MailReport, SendingDomain
from server.mail.service import preview_mail
from server.mail.suppression import suppress
from server.matching.models import ForgottenPayer, MatchDecision
from server.matching.service import match_postings
from server.merchants.models import IdempotencyKey, Merchant
from server.orders.claims import ProofFile, claim_paid
from server.orders.models import (
    CollectionCase,
    CollectionEvent,
    Credit,
    DeferralRequest,
    MatchRequest,
    Order,
    OrderEvent,
    Proof,
    Refund,
    Suggestion,
)
from server.orders.service import set_additional, store_invoice
from server.refunds.models import RefundBatch
from server.relay.models import RelayConnection, RelayDelivery, RelayEvent, RelayMessage
from server.shops.models import OrderRequest, PaymentUpdate, Shop, ShopConnection
from tests.bank_files import Paid, camt, csv
from tests.factories import AT, make_key, make_posting
from tests.server.forgetting.search import Wanted
from tests.server.life.steps import ANNA, LATER, PAID_AT, mails, pushed

NAME = "Erika Mustermänn"
EMAIL = "erika.m@example.org"
PAYER_IBAN = "DE89370400440532013000"
STREET = "Heidestraße 17"
PHONE = "0221-4711"
NUMBER = "K-0815-77"
GODMOTHER = "Patin Ute"
WORDS = (NAME, EMAIL, PAYER_IBAN, STREET, PHONE, NUMBER, GODMOTHER)
WANTED = Wanted(*WORDS)
SAID = f"{NAME}, {STREET}, <{EMAIL}>, {PAYER_IBAN}"
RAW = SAID.encode()
TOTAL = "34.90"
AT_NIGHT = PAID_AT + timedelta(days=30)


def lived(merchant: Merchant, shop: Shop, inbox: Path) -> Order:
    """Everything there is about one paid order of one customer; nothing of it is under way."""
    order = ordered(shop)
    merchant_id = merchant.id
    set_additional(merchant_id, order.id, name=GODMOTHER, number=NUMBER, actor=ANNA, at=LATER)
    bounced(order)
    claimed(order)
    store_invoice(order, "R-1", b"%PDF-1.4 " + RAW, LATER)
    paid(merchant, order, inbox)
    printed(order)
    repaid(order)
    collected(order)
    quoted(merchant, shop, order)
    relayed(merchant)
    db.session.execute(
        update(Mail).where(Mail.status == "queued").values(status="done", finished_at=PAID_AT)
    )
    db.session.commit()
    db.session.expire_all()
    return order


def ordered(shop: Shop, **over: Any) -> Order:
    first, last = NAME.split()
    address = {
        "first_name": first,
        "last_name": last,
        "street": STREET,
        "postcode": "51147",
        "city": "Köln",
        "country": "DE",
        "phone": PHONE,
    }
    values = {
        "total": TOTAL,
        "customer": {"email": EMAIL, "number": NUMBER, "language": "de"},
        "billing_address": address,
        "shipping_address": address,
    }
    return pushed(shop, **(values | over))[1]


def bounced(order: Order) -> None:
    """Mails that were written, sent and came back; a notice of it; a block."""
    for mail in mails(order):
        message = preview_mail(mail)
        mail.subject, mail.html, mail.text = f"{message.subject} {NAME}", message.html, message.text
        mail.headers = f"To: {EMAIL}\r\nSubject: x"
        mail.smtp_response = f"550 5.1.1 <{EMAIL}> unknown"
        mail.error = mail.delivery_words = SAID
        mail.status, mail.delivery, mail.finished_at = "done", "bounced", LATER
        report(order.merchant_id, mail.id)
    report(None, None)
    suppress(order.merchant_id, EMAIL, "bounced", at=LATER, evidence=f"<{EMAIL}> unknown")
    db.session.add(MailHost(host="mx.example.org", because=f"450 <{EMAIL}> later"))
    db.session.commit()


def report(merchant_id: int | None, mail_id: int | None) -> None:
    db.session.add(
        MailReport(
            merchant_id=merchant_id,
            mail_id=mail_id,
            kind="bounced",
            words=f"550 <{EMAIL}>",
            raw=b"Final-Recipient: rfc822; " + EMAIL.upper().encode(),
            digest=(mail_id or 0).to_bytes(32, "big"),
        )
    )


def claimed(order: Order) -> None:
    proof = ProofFile(f"{NAME}.pdf", b"%PDF-1.4 " + RAW)
    claim_paid(order, paid_on=None, message=f"Ihre {NAME}", proof=proof, at=LATER)
    row = db.session.query(Proof).filter_by(order_id=order.id).one()
    row.findings = {"iban": PAYER_IBAN, "name": NAME}
    db.session.add(
        DeferralRequest(
            merchant_id=order.merchant_id,
            order_id=order.id,
            until_date=date(2026, 4, 1),
            message=f"Bitte mehr Zeit, {NAME}",
        )
    )
    db.session.commit()


def paid(merchant: Merchant, order: Order, inbox: Path) -> None:
    """By a file that lay in the inbox, once more in another, and once more in a table."""
    money = Paid(
        amount=TOTAL,
        text=f"{order.number} {NAME} {NUMBER}",
        name=NAME,
        iban=PAYER_IBAN,
        end_to_end_id=f"{NUMBER}-{PAYER_IBAN}",
        reference="2026030500000001",
    )
    day = (date(2026, 3, 5), date(2026, 3, 5))
    folder = inbox / str(merchant.id)
    folder.mkdir(parents=True, exist_ok=True)
    lay(folder / "morgens.xml", camt("camt.053", money, days=day))
    jobs.drain_statement()
    lay(folder / "abends.xml", camt("camt.053", money, days=day) + b" ")
    lay(folder / "export.csv", csv(money))
    jobs.drain_statement()
    statements = db.session.query(Statement).order_by(Statement.id).all()
    assert [one.status for one in statements] == ["done"] * 3
    assert [one.postings_new for one in statements] == [1, 0, 0]
    statements[0].problems = [{"where": "Ntry 2", "what": "unreadable", "raw": SAID}]
    statements[0].filename, statements[0].error = f"{NAME}.xml", SAID
    match_postings(merchant.id, PAID_AT)
    db.session.commit()
    assert order.payment_status == "paid"
    posting = db.session.query(Posting).one()
    posting.particulars = {"entry_references": SAID}
    posting.counterparty_bic, posting.mandate_id, posting.creditor_reference = SAID[:60], SAID, SAID
    posting.bank_reference, posting.return_reason, posting.keys = SAID, SAID, [NUMBER]
    for decision in db.session.query(MatchDecision):
        decision.evidence = [{"kind": "name", "text": SAID}]
    suggested(merchant, order)


def lay(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    os.utime(path, (time.time() - 60,) * 2)


def suggested(merchant: Merchant, order: Order) -> None:
    """Money of somebody else, for which this order was offered; and what was kept for him."""
    other = make_posting(
        merchant, "7.00", "Bestellung", counterparty_name="Bob", counterparty_iban="DE0212"
    )
    db.session.add(
        Suggestion(
            merchant_id=merchant.id,
            posting_id=other.id,
            rank=0,
            orders=[{"order_id": order.id, "amount": "7.00"}],
            probability=Decimal("0.5"),
            evidence=[{"kind": "name", "text": SAID}],
            vetoes=[SAID],
        )
    )
    kept = make_posting(merchant, "5.00", "x", counterparty_name="x", counterparty_iban=None)
    kept.is_kept, kept.is_open = True, False
    db.session.add(
        Credit(
            merchant_id=merchant.id,
            posting_id=kept.id,
            from_order_id=order.id,
            customer_name=NAME,
            customer_email=EMAIL,
            customer_number=NUMBER,
        )
    )
    db.session.commit()


def printed(order: Order) -> None:
    db.session.add(
        Letter(
            merchant_id=order.merchant_id,
            shop_id=order.shop_id,
            order_id=order.id,
            kind="reminder",
            language="de",
            recipient=[NAME, STREET, "51147 Köln"],
            once=f"order:{order.id}:reminder:1",
            facts={"recipient_name": NAME},
            enclosed=b"%PDF-1.4 " + RAW,
            pdf=b"%PDF-1.4 " + RAW,
            pages=1,
            status="done",
            created_at=LATER,
            finished_at=LATER,
            due_at=LATER,
            service="folder",
            delivery="accepted",
            delivery_words=SAID,
            error=SAID,
        )
    )
    db.session.commit()
    letter_id = db.session.query(Letter).one().id
    folder = Folder(installed().var, order.merchant_id)
    folder.hand_over(parcel(letter_id, (NAME, STREET), SAID))
    folder.hand_over(parcel(letter_id + 1, ("Bob",), "Bob"))
    folder.finish()


def parcel(letter_id: int, recipient: tuple[str, ...], words: str) -> Parcel:
    """A letter as it goes into the print folder."""
    writer = PdfWriter()
    writer.add_blank_page(595, 842)
    writer.add_metadata({"/Title": words.encode("ascii", "replace").decode()})
    pdf = io.BytesIO()
    writer.write(pdf)
    return Parcel(letter_id, pdf.getvalue(), 1, recipient, "DE", False, "reminder", LATER)


def repaid(order: Order) -> None:
    account = db.session.query(BankAccount).filter_by(merchant_id=order.merchant_id).first()
    batch = RefundBatch(
        merchant_id=order.merchant_id,
        account_id=account.id,
        channel="pain001",
        status="sent",
        message_id="M-1",
        execution_date=date(2026, 3, 11),
        count=1,
        total=Decimal("4.90"),
        content=b"<Cdtr>" + RAW,
        error=SAID,
        step={"name": NAME},
        dialog=RAW,
    )
    db.session.add(batch)
    db.session.flush()
    db.session.add(
        Refund(
            merchant_id=order.merchant_id,
            order_id=order.id,
            amount=Decimal("4.90"),
            currency="EUR",
            reference="RZ-1",
            reason=f"Teilrückgabe {NAME}",
            payee_name=NAME,
            payee_iban=PAYER_IBAN,
            payee_bic="COBADEFFXXX",
            status="processed",
            batch_id=batch.id,
            error=SAID,
        )
    )
    db.session.commit()


def collected(order: Order) -> None:
    """It was in collection once, and came back."""
    case = CollectionCase(
        merchant_id=order.merchant_id,
        order_id=order.id,
        shop_id=order.shop_id,
        adapter="folder",
        currency="EUR",
        principal=Decimal(TOTAL),
        partner_url=f"https://inkasso.example.com/?email={EMAIL}",
        state="cancelled",
        status="done",
        error=SAID,
        ended_at=LATER,
    )
    db.session.add(case)
    db.session.flush()
    db.session.add(
        CollectionEvent(
            merchant_id=order.merchant_id, case_id=case.id, kind="opened", words=f"{SAID} rief an"
        )
    )
    db.session.commit()
    folder = folder_of(installed().var, order.merchant_id)
    folder.mkdir(parents=True)
    (folder / f"{reference_of(case.id)}-{order.number}.zip").write_bytes(RAW)
    (folder / f"{reference_of(case.id * 10)}-others.zip").write_bytes(b"Bob")


def quoted(merchant: Merchant, shop: Shop, order: Order) -> None:
    """Words of others, in which he is named without being asked for."""
    key, _ = make_key(merchant, "shop", shop)
    at = {"changed_at": AT}
    own = {"merchant_id": merchant.id}
    of_shop = {**own, "shop_id": shop.id}
    url = CallbackUrl(**own, url="https://erp.example.com/hook", secret=b"s")
    db.session.add(url)
    db.session.flush()
    told = {**own, "url_id": url.id, "order_id": order.id, "status": "failed"}
    account = db.session.query(BankAccount).filter_by(merchant_id=merchant.id).first()
    access = {"bank_code": "1", "url": "https://b.example.com", "user_name": "u"}
    partner = {"name": "I", "contact_name": "A", "contact_phone": "1"}
    settings = {"settings": b"s"}
    sealed = {**settings, "connector": "x", "webhook_hash": b"w", "status": "withheld"}
    money = {"account_id": account.id, "kind": "refund", "amount": Decimal(-1)}
    waits = {"status": "withheld", "error": SAID}
    db.session.add_all(
        [
            IdempotencyKey(
                api_key_id=key.id, key="k", request_hash=bytes(32), status_code=200, body=RAW
            ),
            ShopConnection(**of_shop, **sealed, error=SAID),
            BankConnection(**own, **access, **waits),
            PrintService(**own, adapter="folder", **settings, **at, error=SAID),
            CollectionPartner(**own, adapter="folder", **partner, **settings, **at, error=SAID),
            SendingDomain(**own, name="example.org", **waits),
            MatchRequest(**own, **waits),
            DunningRun(**own, run_date=date(2026, 3, 2), **waits),
            OrderRequest(**of_shop, order_id=order.id, number=order.number, **waits),
            PaymentUpdate(
                **of_shop,
                order_id=order.id,
                external_id=order.external_id,
                number=order.number,
                payment_status="paid",
                paid_total=order.total,
                currency="EUR",
                intent="paid",
                **waits,
            ),
            Callback(
                **told, kind="callback.test", message_id="m", body="{}", answer=SAID, error=SAID
            ),
            IgnoreRule(**own, kind="iban", value=PAYER_IBAN),
            ForgottenPayer(**own, payer=PAYER_IBAN),
            ForgottenPayer(**own, payer=NAME),
            AccountMovement(**own, **money, booked_on=date(2026, 3, 9), reference=f"an {NAME}"),
            OrderEvent(
                **own, order_id=order.id, kind="note_added", facts={"words": SAID, "amount": "1"}
            ),
            Mail(
                **own,
                kind="postings_need_you",
                language="de",
                recipient=ANNA,
                once="notice",
                facts={"postings": [NAME, PAYER_IBAN]},
                message_id="<n@example.org>",
                text=f"{NAME} zahlte",
                status="done",
            ),
        ]
    )
    shop.error = f"order of {SAID} is broken"
    db.session.commit()


def relayed(merchant: Merchant) -> None:
    connection = RelayConnection(merchant_id=merchant.id, name="ERP", user_name="erp")
    db.session.add(connection)
    db.session.flush()
    both: dict[str, Any] = {"merchant_id": merchant.id, "connection_id": connection.id}
    message = RelayMessage(
        **both,
        header_from="shop@example.org",
        domain="example.org",
        message_id="<r@example.org>",
        subject=f"An {NAME}",
        size_bytes=10,
        content=RAW,
    )
    db.session.add(message)
    db.session.flush()
    delivery = RelayDelivery(
        **both,
        relay_message_id=message.id,
        recipient=EMAIL.title(),
        status="done",
        smtp_response=SAID,
        delivery_words=SAID,
        error=SAID,
    )
    db.session.add(delivery)
    db.session.flush()
    db.session.add(RelayEvent(**both, delivery_id=delivery.id, kind="bounced", words=SAID))
    db.session.commit()
