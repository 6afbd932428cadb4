"""What holds for every page: headers, languages, strangers, errors."""

from __future__ import annotations

import re
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from sqlalchemy import select
from werkzeug.routing import Rule

from server.banking import sharing
from server.banking.models import BankConnection
from server.callbacks import service as callbacks
from server.db import db, now
from server.dunning.models import DunningRun
from server.dunning.runs import TOO_MANY
from server.mail import domains, suppression
from server.merchants.models import Merchant, User
from server.orders import service
from server.orders.cases import open_case
from server.orders.claims import ProofFile, keep_proof
from server.orders.ledger import Ledger
from server.orders.letter_actions import send_transfer_form
from server.orders.models import Order, Suggestion
from server.refunds import batches
from server.refunds import service as refunds
from server.relay.intake import Origin, accept, caller_now
from server.shops import connections
from server.shops.models import Shop
from tests.factories import AT, make_key, make_merchant, make_order, make_posting, make_shop
from tests.server.dashboard.visitor import ORIGIN, Visitor, member
from tests.server.relay.systems import a_mail, make_system

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-src 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
OWN_POLICY = {
    "dashboard.mails.content",
    "dashboard.orders.invoice",
    "dashboard.orders.proof",
    "dashboard.collection.dossier",
    "dashboard.dunning_preview.content",
    "dashboard.letters.pdf",
    "dashboard.print_service.sample",
    "dashboard.relay_log.content",
    "dashboard.relay_log.source",
    "dashboard.settings_look.preview",
    "dashboard.settings_mail_kinds.content",
}
SHOWS_BRACES = {"dashboard.callbacks.show_message", "dashboard.settings_mail_kinds.show"}
"""Pages on which placeholders are written in braces; elsewhere one is a text nobody filled in."""


TAN_STEP = {
    "asks": "tan",
    "text": "Bitte geben Sie frei",
    "is_decoupled": False,
    "picture": "iVBORw0KGgo=",
    "picture_mime": "image/png",
    "medium": None,
}


def furnish(app) -> dict[str, object]:
    """A merchant with one of everything; the values of the URLs."""
    merchant = make_merchant()
    shop = make_shop(merchant)
    order = make_order(shop, invoices=[{"number": "R-1", "date": "2026-03-01"}])
    posting = make_posting(merchant, "7.00", f"{order.number} Teil")
    assignment = service.assign(
        merchant.id, posting.id, [(order.id, posting.amount)], actor="anna@example.org", at=AT
    )[0]
    waiting = make_posting(merchant, "12.90", "Rest")
    suggestion = Suggestion(
        merchant_id=merchant.id,
        posting_id=waiting.id,
        rank=0,
        orders=[{"order_id": order.id, "amount": "12.90"}],
        probability="0.91",
        evidence=["12.90 is what the order owes (+2.0)"],
        vetoes=["partly_assigned"],
    )
    db.session.add(suggestion)
    invoice = service.store_invoice(order, "R-1", b"%PDF-1.7 test", AT)
    key, _ = make_key(merchant, "shop", shop)
    bank_key, _ = make_key(merchant, "bank")
    from server.banking.service import add_rule, store_statement

    rule = add_rule(merchant.id, "text", "Miete", tells_merchant=False, actor="anna@example.org")
    statement = store_statement(merchant.id, "a.csv", b"x;y\n1;2\n", uploaded_by="anna")
    statement.status, statement.error = "failed", "the header of this CSV is not known"
    access = make_access(merchant)
    db.session.commit()
    refund_id, batch_id = make_repayments(merchant, order.id)
    guest, message_id = make_guest(merchant, posting.account_id)
    mail = order_mail(order.id)
    proof = keep_proof(order, ProofFile("Beleg.pdf", b"%PDF-1.7 test"), AT)
    run = DunningRun(merchant_id=merchant.id, run_date=AT.date(), status="withheld", error=TOO_MANY)
    db.session.add(run)
    domain = domains.add(merchant.id, "laden.example", AT)
    blocked = suppression.suppress(
        merchant.id, "erika@example.org", "bounced", at=now(), evidence="550 5.1.1 unknown"
    )
    url, _ = callbacks.add_url(
        merchant.id, "https://erp.example/kontor", shop_id=None, actor="anna@example.org", at=AT
    )
    login = make_connection(shop)
    callback = callbacks.send_test(url, actor="anna@example.org", at=AT)
    case = open_case(order, AT, actor="anna@example.org", ledger=Ledger([order.id]))
    db.session.commit()
    return {
        "merchant": merchant,
        "shop_id": shop.id,
        "order_id": order.id,
        "posting_id": waiting.id,
        "assignment_id": assignment.id,
        "invoice_id": invoice.id,
        "key_id": key.id,
        "bank_key_id": bank_key.id,
        "export_key_id": make_key(merchant, "export")[0].id,
        "statement_id": statement.id,
        "account_id": posting.account_id,
        "connection_id": access.id,
        "rule_id": rule.id,
        "run_id": run.id,
        "domain_id": domain.id,
        "suppression_id": blocked.id,
        "proof_id": proof.id,
        "refund_id": refund_id,
        "batch_id": batch_id,
        "url_id": callback.url_id,
        "callback_id": callback.id,
        "case_id": case.id,
        "login": login,
        "merchant_id": guest.id,
        "message_id": message_id,
        "mail_id": mail,
        "letter_id": order_letter(order.id),
        **relayed_mail(merchant),
        "token": "unknown",
        "filename": "app.css",
    }


def relayed_mail(merchant: Merchant) -> dict[str, object]:
    """A system that hands in mails, and one of them."""
    system = make_system(merchant=merchant)
    caller = caller_now(system.connection.id)
    assert caller is not None
    mail = accept(
        caller,
        a_mail(),
        sender="",
        recipients=["erika@example.com"],
        origin=Origin("smtp"),
        at=now(),
    )
    db.session.commit()
    return {"relay_id": system.connection.id, "relayed_id": mail}


def make_repayments(merchant: Merchant, order_id: int) -> tuple[int, int]:
    """A repayment that waits for its day, and a batch with another one."""
    planned, ready = (
        refunds.arrange(
            merchant.id, order_id=order_id, amount=Decimal(amount), actor="anna@example.org", at=AT
        )
        for amount in ("2.00", "1.00")
    )
    refunds.execute_now(ready, actor="anna@example.org", at=AT)
    (group,) = batches.payable(merchant.id)
    batch = batches.make_batch(
        merchant.id,
        group.account.id,
        [ready.id],
        channel="fints",
        actor="anna@example.org",
        at=now(),
    )
    batch.step = {**TAN_STEP, "since": now().isoformat(), "by": "anna@example.org"}
    db.session.commit()
    return planned.id, batch.id


def make_access(merchant: Merchant) -> BankConnection:
    """An access to a bank that shows a picture and waits for a TAN."""
    row = BankConnection(
        merchant_id=merchant.id,
        bank_code="12030000",
        bank_name="Musterbank",
        url="https://fints.example.org/",
        user_name="anna",
        status="withheld",
        step=TAN_STEP,
    )
    db.session.add(row)
    db.session.commit()
    return row


def make_connection(shop: Shop) -> str:
    """The shop is one that Kontor visits itself; the name of a log-in that has begun."""
    settings = {"shop_url": shop.url, "consumer_key": "ck_1", "consumer_secret": "cs_1"}
    row = connections.add_connection(shop, "woocommerce", settings, now())
    return connections.begin_login(row, now())


def make_guest(operator: Merchant, account_id: int) -> tuple[Merchant, str]:
    """A merchant on the operator's account, with money there; and a payout that was made."""
    operator.is_operator = True
    sharing.share_account(operator, account_id)
    guest = make_merchant("Claras Comics", account=False)
    own = sharing.add_member(operator, account_id, guest.id)
    sharing.set_payout(guest.id, own.id, "DE89370400440532013000", "Clara Beispiel")
    for number in range(3):
        posting = make_posting(operator, "5.00", f"Comic {number}", account_id=account_id)
        sharing.pass_on(posting, guest.id)
        if number == 0:
            sharing.pay_out(operator, account_id, at=AT, on=AT.date(), actor="")
    make_posting(operator, "6.00", "Wem gehört das?", account_id=account_id)
    (made,) = sharing.payouts(operator, account_id, limit=1)
    db.session.commit()
    return guest, made.message_id


def order_mail(order_id: int) -> int:
    from server.mail.models import Mail

    found = db.session.query(Mail).filter_by(order_id=order_id).first()
    assert found is not None
    return int(found.id)


def order_letter(order_id: int) -> int:
    order = db.session.get_one(Order, order_id)
    made = send_transfer_form(order.merchant_id, order.id, actor="anna@example.org", at=now())
    db.session.commit()
    return made


def rules(app, method: str) -> list[Rule]:
    return [
        rule
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("dashboard.") and method in (rule.methods or ())
    ]


def path_of(app, rule: Rule, values: dict[str, object]) -> str:
    if rule.endpoint.startswith("dashboard.bank."):
        values = values | {"key_id": values["bank_key_id"]}
    adapter = app.url_map.bind("localhost")
    return adapter.build(rule.endpoint, {name: values[name] for name in rule.arguments})


class Outline(HTMLParser):
    """Ids, labels and fields of a page, and what a strict policy would refuse."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.labels: set[str] = set()
        self.fields: list[dict[str, str | None]] = []
        self.headings: list[int] = []
        self.refused: list[str] = []
        self._in_label = 0
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids += [given["id"]] if given.get("id") else []
        self.refused += [f"{tag} {name}" for name in given if name == "style" or name[:2] == "on"]
        if tag in {"script", "link"} and not (
            given.get("src") or given.get("href") or "/"
        ).startswith("/"):
            self.refused.append(str(given))
        if tag == "script" and not given.get("src"):
            self.refused.append("inline script")
        if tag == "label":
            self._in_label += 1
            self.labels.add(given.get("for") or "")
        is_shown = given.get("type") != "hidden" and "hidden" not in given
        if tag in {"input", "select", "textarea"} and is_shown and not self._in_label:
            self.fields.append(given)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag):
        self._in_label -= tag == "label"


def test_every_page_is_shown_in_both_languages_with_its_headers(app):
    values = furnish(app)
    visitor = member(app, values["merchant"])
    for language in ("de", "en"):
        db.session.query(User).one().language = language
        db.session.commit()
        for rule in rules(app, "GET"):
            answer = visitor.get(path_of(app, rule, values), buffered=True)
            expected = {
                "dashboard.login.form": 303,
                "dashboard.login.choose": 410,
                "dashboard.bank.show_old": 301,
                "dashboard.orders.ask_collection_details": 303,
                "dashboard.mails.source": 404,  # it was not sent yet
                "dashboard.print_service.folder": 404,  # of no day
                "dashboard.shop_connect.come_back": 422,  # with nothing
                "dashboard.shop_connect.come_back_by_query": 404,
            }
            assert answer.status_code == expected.get(rule.endpoint, 200), rule
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            if rule.endpoint == "dashboard.static":
                continue
            assert answer.headers["Cache-Control"] == "no-store", rule
            if rule.endpoint not in OWN_POLICY:
                assert answer.headers["Content-Security-Policy"] == POLICY, rule
                assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
            is_page = answer.mimetype == "text/html" and answer.status_code not in (301, 303)
            if is_page and rule.endpoint not in OWN_POLICY and "<html" in answer.text:
                assert f'<html lang="{language}"' in answer.text


def test_every_page_is_well_made_for_screen_readers_and_the_policy(app):
    values = furnish(app)
    visitor = member(app, values["merchant"])
    for rule in rules(app, "GET"):
        answer = visitor.get(path_of(app, rule, values), buffered=True)
        if answer.mimetype != "text/html" or rule.endpoint in OWN_POLICY:
            continue
        outline = Outline(answer.text)
        assert outline.refused == [], rule
        assert len(outline.ids) == len(set(outline.ids)), (rule, outline.ids)
        for field in outline.fields:
            named = field.get("id") in outline.labels or field.get("aria-label")
            assert named, (rule, field)
        if "<html" in answer.text:
            assert outline.headings.count(1) == 1, rule
            jumps = zip(outline.headings, outline.headings[1:], strict=False)
            assert all(after <= before + 1 for before, after in jumps), (rule, outline.headings)
            shown = re.sub(r"<[^>]*>", "", answer.text)
            assert "{" not in shown or rule.endpoint in SHOWS_BRACES, rule


def test_what_belongs_to_another_merchant_is_not_there(app):
    values = furnish(app)
    stranger = member(app, make_merchant("Bobs Laden"), "bob@example.org")
    walked = 0
    for method in ("GET", "POST"):
        for rule in rules(app, method):
            if not rule.arguments - {"token", "filename"}:
                continue
            path = path_of(app, rule, values)
            answer = stranger.get(path) if method == "GET" else stranger.post(path)
            assert answer.status_code == 404, (method, path)
            assert "Erika" not in answer.text and "Annas" not in answer.text
            walked += 1
    assert walked > 20


def test_without_a_log_in_nothing_is_shown_and_nothing_done(app):
    values = furnish(app)
    for rule in rules(app, "GET"):
        if rule.endpoint == "dashboard.static" or ".login." in rule.endpoint:
            continue
        answer = Visitor(app).get(path_of(app, rule, values))
        assert answer.status_code == 303 and answer.location.startswith("/login"), rule
    for rule in rules(app, "POST"):
        if ".login." in rule.endpoint:
            continue
        answer = Visitor(app).post(path_of(app, rule, values), page="/login")
        assert answer.status_code == 303 and answer.location.startswith("/login"), rule


def test_a_number_that_no_row_can_have_is_not_there(app):
    values = furnish(app)
    visitor = member(app, values["merchant"])
    ids = {name: 2**63 if isinstance(value, int) else value for name, value in values.items()}
    walked = 0
    for method in ("GET", "POST"):
        for rule in rules(app, method):
            if not any("<int:" in part for part in rule.rule.split("/")):
                continue
            path = path_of(app, rule, ids)
            answer = visitor.get(path) if method == "GET" else visitor.post(path)
            assert answer.status_code == 404, (method, path)
            walked += 1
    assert walked > 60


@pytest.mark.parametrize("path", ["/orders", "/mails", "/letters", "/relay/log"])
@pytest.mark.parametrize("place", ["1-9223372036854775808", "9" * 18 + "-1", "²-1", "-", "x-1"])
def test_a_page_that_begins_nowhere_is_the_first(app, path, place):
    visitor = member(app, make_merchant())
    for name in ("before", "after"):
        assert visitor.get(path, query_string={name: place}).status_code == 200


def test_htmx_is_sent_to_the_log_in_with_the_whole_page(app):
    answer = Visitor(app).get("/statements", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (401, "/login")


@pytest.mark.parametrize(
    ("accepted", "title"),
    [("de-AT,de;q=0.9", "Hier ist nichts"), ("en-GB", "There is nothing here"), ("fr", "Hier")],
)
def test_an_unknown_address_has_a_page_in_the_readers_language(client, accepted, title):
    answer = client.get("/nowhere", headers={"Accept-Language": accepted})
    assert answer.status_code == 404 and title in answer.text
    assert answer.headers["Content-Security-Policy"] == POLICY


def test_unknown_addresses_of_the_api_stay_with_the_api(client):
    answer = client.get("/api/v1/nowhere")
    assert answer.status_code == 404 and answer.mimetype == "application/problem+json"


def test_a_wrong_method_has_a_page(app):
    visitor = member(app, make_merchant())
    assert "So geht das nicht" in visitor.get("/logout").text


def test_a_form_larger_than_any_of_ours_is_refused(app):
    visitor = member(app, make_merchant())
    answer = visitor.post("/account", {"language": "x" * (1024**2 + 1)})
    assert answer.status_code == 413 and "Zu groß" in answer.text


def test_a_fault_of_ours_has_a_page_and_shows_nothing_of_itself(app, monkeypatch, caplog):
    visitor = member(app, make_merchant())
    monkeypatch.setattr("server.dashboard.queries.shops", lambda _: 1 / 0)
    answer = visitor.get("/shops")
    assert answer.status_code == 500
    assert "Es liegt an Kontor" in answer.text and "ZeroDivision" not in answer.text
    assert "ZeroDivision" in caplog.text


def test_static_files_are_kept_for_good_because_their_address_changes(app, client):
    page = client.get("/login").text
    found = re.search(r'href="(/assets/app\.css\?v=[0-9a-f]{12})"', page)
    assert found
    answer = client.get(found[1], buffered=True)
    assert answer.status_code == 200
    assert "immutable" in answer.headers["Cache-Control"]


def test_language_and_look_are_remembered(app):
    visitor = member(app, make_merchant())
    visitor.post("/account", {"language": "en", "theme": "dark"})
    page = visitor.get("/orders").text
    assert '<html lang="en" data-theme="dark">' in page
    assert '<body data-keys="off">' in page
    assert "Orders" in page


def test_the_log_in_page_remembers_the_language_that_was_chosen(client):
    assert "Log in" in client.get("/login?language=en").text
    assert "Log in" in client.get("/login", headers={"Accept-Language": "de"}).text


# --- forms ------------------------------------------------------------------------------------


def contents() -> list[tuple[str, list[tuple[object, ...]]]]:
    """Every row of every table except the sessions, which note when they were seen."""
    tables = (one for one in db.metadata.sorted_tables if one.name != "user_session")
    return [
        (table.name, sorted(map(tuple, db.session.execute(select(table))), key=repr))
        for table in tables
    ]


@pytest.mark.parametrize("fault", ["no token", "a stranger's token", "another page", "no page"])
def test_no_form_of_any_route_is_taken_without_its_token_and_origin(app, fault):
    values = furnish(app)
    anna = member(app, values["merchant"])
    token = anna.token("/account")
    form = {"no token": {}, "a stranger's token": {"form_token": Visitor(app).token()}}
    origin = {"another page": {"Origin": "https://elsewhere.example"}, "no page": {}}
    before, walked = contents(), 0
    for rule in rules(app, "POST"):
        path = path_of(app, rule, values)
        sent = form.get(fault, {"form_token": token})
        headers = origin.get(fault, {"Origin": ORIGIN})
        assert anna.client.post(path, data=sent, headers=headers).status_code == 403, rule
        walked += 1
    assert walked > 80
    db.session.expire_all()
    assert contents() == before
