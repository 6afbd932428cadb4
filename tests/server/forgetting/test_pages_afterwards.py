"""Every page of the dashboard still works when what it shows was emptied (S86)."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from server.db import Base, db
from server.forgetting.service import erase_personal_data
from server.mail.models import Mail
from server.orders.models import OrderEvent
from tests.factories import make_merchant, make_shop
from tests.server.dashboard.visitor import member
from tests.server.forgetting.life import AT_NIGHT, EMAIL, NAME, PAYER_IBAN, lived
from tests.server.life.steps import ANNA

TABLE_OF = {"case": "collection_case", "batch": "refund_batch", "account": "bank_account"}


def addresses(app) -> list[str]:
    """All pages of one row that there are, for every row; pages without a row as well."""
    found = []
    for rule in app.url_map.iter_rules():
        if not rule.endpoint.startswith("dashboard.") or "GET" not in (rule.methods or ()):
            continue
        if not rule.arguments:
            found.append(rule.rule)
        if len(rule.arguments) != 1:
            continue
        (argument,) = rule.arguments
        name = argument.removesuffix("_id")
        table = Base.metadata.tables.get(TABLE_OF.get(name, name))
        if argument.endswith("_id") and table is not None:
            for row_id in db.session.scalars(table.select().with_only_columns(table.c.id)):
                found.append(rule.rule.replace(f"<int:{argument}>", str(row_id)))
    return found


@pytest.fixture
def erased(app, place):
    """A whole life that was erased, of somebody who may look at everything."""
    merchant = make_merchant()
    anna = member(app, merchant)
    order = lived(merchant, make_shop(merchant), place / "inbox")
    erase_personal_data(merchant.id, order.id, actor=ANNA, at=AT_NIGHT)
    db.session.commit()
    return anna, order


@pytest.mark.feature("S86")
def test_no_page_fails_and_none_names_him(app, erased):
    anna, order = erased
    asked = addresses(app)
    assert {f"/orders/{order.id}", "/settings/changes", "/mails", "/postings"} <= set(asked)
    wrong = {}
    for address in asked:
        answer = anna.get(address)
        text = answer.get_data(as_text=answer.mimetype.startswith("text/"))
        traces = [word for word in (NAME, EMAIL, PAYER_IBAN) if word in str(text)]
        if answer.status_code >= 500 or traces:
            wrong[address] = (answer.status_code, traces)
        answer.close()
    assert wrong == {}


@pytest.mark.feature("S86")
def test_the_history_is_still_told(erased):
    anna, order = erased
    kinds = ("refund_failed", "letter_not_written", "more_time_asked", "edited")
    facts = {"reference": "RZ-1", "reason": "", "letter": "reminder", "day": "2026-04-01"}
    for kind in kinds:
        db.session.add(
            OrderEvent(
                merchant_id=order.merchant_id,
                order_id=order.id,
                kind=kind,
                at=AT_NIGHT,
                facts=facts | {"fields": "email"},
            )
        )
    db.session.execute(update(Mail).where(Mail.order_id == order.id).values(status="failed"))
    db.session.query(OrderEvent).filter_by(kind="note_added").delete()
    db.session.commit()
    assert anna.get(f"/orders/{order.id}").status_code == 200
