"""Walls between merchants: every route there is, asked by a stranger for what is not theirs.

The routes come from the application itself. A route with a parameter that has no entry in
``Victim.ids``, or a route that answers strangers and is not listed, fails these tests.
"""

from __future__ import annotations

import re
import secrets
from base64 import b64encode
from decimal import Decimal

import pytest
from sqlalchemy import text

from server.banking import sharing
from server.banking.models import BankConnection
from server.banking.service import add_rule, store_statement
from server.callbacks import service as callbacks
from server.dashboard import order_bulk
from server.db import db, now
from server.dunning.models import DunningRun
from server.mail import domains, suppression
from server.mail.models import Mail
from server.mail.samples import sample_facts
from server.mail.service import queue_mail
from server.mail.theme import Theme
from server.merchants import service as merchants
from server.merchants.models import SettingChange, UserSession
from server.merchants.rules import token_hash
from server.orders.cases import open_case
from server.orders.claims import ProofFile, claim_paid, proofs_of
from server.orders.ledger import Ledger
from server.orders.letter_actions import send_transfer_form
from server.orders.models import Suggestion
from server.orders.service import assign, mark_as_paid, store_invoice
from server.refunds import batches
from server.refunds import service as refunds
from server.relay.intake import Origin, accept, caller_now
from server.shops import connections
from server.shops.models import PaymentUpdate
from server.shops.order_requests import ask_for_order
from server.vault import installed as installed_vault
from tests.factories import (
    bearer,
    make_account,
    make_key,
    make_merchant,
    make_order,
    make_posting,
    make_shop,
    make_user,
    today,
)
from tests.server.relay.systems import a_mail, make_system

MARK = "Silberdistel"
"""Is part of every name that the victim has, and of nothing else."""

PUBLIC = {
    ("health", "GET"),
    ("static", "GET"),
    ("api-docs.openapi_json", "GET"),
    ("dashboard.static", "GET"),
    ("dashboard.login.form", "GET"),
    ("dashboard.login.forgotten", "GET"),
    ("dashboard.login.submit", "POST"),
    ("dashboard.login.send_link", "POST"),
    ("dashboard.login.log_out", "POST"),
    ("dashboard.login.choose", "GET"),
    ("dashboard.login.set_password", "POST"),
    ("customer.static", "GET"),
    ("customer.show", "GET"),
    ("customer.qr_code", "GET"),
    ("customer.claim", "POST"),
    ("customer.more_time", "POST"),
    ("customer.bank_details", "POST"),
    ("customer.invoice", "GET"),
    ("customer_looks.style", "GET"),
    ("customer_choices.ask_unsubscribe", "GET"),
    ("customer_choices.unsubscribe", "POST"),
    ("customer_choices.may_ask", "OPTIONS"),
    ("customer_choices.why", "GET"),
    ("customer_choices.ask_stop", "GET"),
    ("customer_choices.stop", "POST"),
    ("customer_pictures.show", "GET"),
    ("relay_help.why", "GET"),
    ("relay_help.refusals", "GET"),
    ("shop_webhooks.receive", "POST"),
    ("shop_webhooks.answer", "GET"),
    ("shop_webhooks.answer", "POST"),
    ("shop_webhooks.receive_login", "POST"),
}
"""What answers without a key or a session."""

NOT_IDS = {"filename", "token", "state"}
"""Parameters that name no row of a merchant; a token is the secret itself, as the state of a
log-in at a shop is."""


class Party:
    """A merchant with a user, a session, and a key of each scope."""

    def __init__(self, app, name, mark):
        self.merchant = make_merchant(name, account=False)
        make_account(self.merchant)
        self.user = make_user(self.merchant, f"{mark.lower()}@example.org")
        self.shop = make_shop(self.merchant, f"{mark}-Laden", url=f"https://{mark}.example.org")
        self.keys = {
            "shop": bearer(make_key(self.merchant, "shop", self.shop)[1]),
            "bank": bearer(make_key(self.merchant, "bank")[1]),
            "export": bearer(make_key(self.merchant, "export")[1]),
        }
        self.system = make_system(f"{mark.lower()}.example.org", merchant=self.merchant)
        log_in = f"{self.system.user}:{self.system.password}".encode()
        self.keys["relay"] = {"Authorization": f"Basic {b64encode(log_in).decode()}"}
        token = secrets.token_urlsafe(32)
        db.session.add(UserSession(token_hash=token_hash(token), user_id=self.user.id))
        db.session.commit()
        self.client = app.test_client()
        self.client.set_cookie("kontor", token)
        page = self.client.get("/account").text
        found = re.search(r'name="form_token" value="([^"]+)"', page)
        assert found, "the page has a form"
        self.form = {"X-Form-Token": found[1], "Origin": "http://localhost"}

    def ask(self, app, rule, method, url, **form):
        """The answer to this party, with the key or session that the route wants."""
        if rule.rule.startswith(("/api/", "/export/")):
            view = app.view_functions[rule.endpoint]
            scope = getattr(view, "api_scope", None)
            assert scope in self.keys, f"{rule} has no scope"
            headers = self.keys[scope]
            if rule.endpoint == "orders.put_invoice":
                return self.client.open(
                    url, method=method, headers=headers, data=b"%PDF-1",
                    content_type="application/pdf",
                )  # fmt: skip
            outcome = "unknown" if rule.endpoint.startswith("order_requests.") else "applied"
            body = {"outcome": outcome} if method == "POST" else None
            return self.client.open(url, method=method, headers=headers, json=body)
        headers = self.form if method == "POST" else {}
        return self.client.open(url, method=method, headers=headers, data=form)


class Victim(Party):
    """One of everything that has an id."""

    def __init__(self, app):
        super().__init__(app, f"{MARK} OHG", MARK)
        at = now()
        relayed = accept(
            caller_now(self.system.connection.id),
            a_mail(MARK, sender=f"{MARK}@{MARK.lower()}.example.org"),
            sender="",
            recipients=[f"{MARK.lower()}@example.com"],
            origin=Origin("smtp"),
            at=at,
        )
        order = make_order(
            self.shop,
            external_id="77001",
            total="30.00",
            billing_address={"first_name": MARK, "last_name": MARK, "city": MARK},
            customer={"email": f"{MARK.lower()}@example.com"},
            ordered_at="2026-03-01T10:00:00+00:00",
        )
        self.open_order = make_order(self.shop, customer={"email": f"{MARK}@example.com"})
        posting = make_posting(self.merchant, "40.00", MARK, counterparty_name=MARK)
        (booked,) = assign(
            self.merchant.id, posting.id, [(order.id, Decimal("30.00"))], actor=MARK, at=at
        )
        invoice = store_invoice(order, f"{MARK}-1", b"%PDF-1.7 " + MARK.encode(), at)
        self.suggestion = Suggestion(
            merchant_id=self.merchant.id,
            posting_id=posting.id,
            rank=0,
            orders=[{"order_id": self.open_order.id, "amount": "10.00"}],
            probability=Decimal("0.5"),
        )
        db.session.add(self.suggestion)
        statement = store_statement(
            self.merchant.id, f"{MARK}.csv", b"a;b\n1;2\n", uploaded_by=MARK
        )
        statement.give_up("the header is not known", at)
        rule = add_rule(self.merchant.id, "text", f"{MARK}-Miete", tells_merchant=False, actor=MARK)
        self.spare_rule = add_rule(
            self.merchant.id, "text", f"{MARK}-Strom", tells_merchant=False, actor=MARK
        )
        access = BankConnection(
            merchant_id=self.merchant.id,
            bank_code="12030000",
            bank_name=MARK,
            url="https://fints.example.org/",
            user_name=MARK,
            status="withheld",
            credentials=installed_vault().seal('{"user": "", "pin": ""}'),
            step={
                "asks": "tan",
                "text": "",
                "picture": "iVBORw0KGgo=",
                "picture_mime": "image/png",
            },
        )
        asked = ask_for_order(self.shop, number=MARK, asked_by=MARK, at=at)
        proof = ProofFile(f"{MARK}.pdf", b"%PDF-1.7 " + MARK.encode())
        claim_paid(self.open_order, paid_on=None, message=MARK, proof=proof, at=at)
        run = DunningRun(merchant_id=self.merchant.id, run_date=at.date(), status="withheld")
        self.change = SettingChange(
            merchant_id=self.merchant.id,
            name="prepayment.reminders",
            value=3,
            changed_at=at,
            changed_by=f"{MARK.lower()}@example.net",
            waits=True,
        )
        db.session.add_all([access, run, self.change])
        domain = domains.add(self.merchant.id, f"{MARK.lower()}.example", at)
        blocked = suppression.suppress(
            self.merchant.id, f"{MARK.lower()}@example.org", "manual", at=at, evidence=MARK
        )
        domain.checked_at = at  # nobody asks the DNS
        login = self.connection(at)
        removable, callback = self.callback_url("old", at), self.callback(at)
        case = open_case(order, at, actor=MARK, ledger=Ledger([order.id]))
        db.session.commit()
        guest, message_id = self.share(posting.account_id)
        mail = self.sent_mail(at)
        refund_id, batch_id = self.repayments(order.id, at)
        letter_id = send_transfer_form(self.merchant.id, self.open_order.id, actor=MARK, at=at)
        db.session.commit()
        self.posting, self.booked = posting, booked
        self.ids = {
            "relay_id": self.system.connection.id,
            "relayed_id": relayed,
            "order_id": order.id,
            "external_id": "77001",
            "number": "R-1",
            "update_id": db.session.query(PaymentUpdate).filter_by(order_id=order.id).one().id,
            "statement_id": statement.id,
            "assignment_id": booked.id,
            "invoice_id": invoice.id,
            "mail_id": mail.id,
            "posting_id": posting.id,
            "shop_id": self.shop.id,
            "rule_id": rule.id,
            "account_id": posting.account_id,
            "connection_id": access.id,
            "merchant_id": guest.id,
            "message_id": message_id,
            "request_id": asked.id,
            "run_id": run.id,
            "domain_id": domain.id,
            "suppression_id": blocked.id,
            "proof_id": proofs_of(self.open_order.id)[0].id,
            "refund_id": refund_id,
            "batch_id": batch_id,
            "url_id": removable.id,
            "callback_id": callback.id,
            "case_id": case.id,
            "login": login,
            "letter_id": letter_id,
        }

    def repayments(self, order_id, at):
        """One that waits for its day, and a batch with another one."""
        planned, ready = (
            refunds.arrange(
                self.merchant.id, order_id=order_id, amount=Decimal(amount), actor=MARK, at=at
            )
            for amount in ("2.00", "1.00")
        )
        refunds.execute_now(ready, actor=MARK, at=at)
        (group,) = batches.payable(self.merchant.id)
        batch = batches.make_batch(
            self.merchant.id, group.account.id, [ready.id], channel="pain001", actor=MARK, at=at
        )
        batch.step = {"picture": "iVBORw0KGgo=", "picture_mime": "image/png"}
        db.session.commit()
        return planned.id, batch.id

    def callback_url(self, name, at):
        return callbacks.add_url(
            self.merchant.id,
            f"https://{MARK.lower()}.example.net/{name}",
            shop_id=None,
            actor=MARK,
            at=at,
        )[0]

    def callback(self, at):
        """What was told to a program of the victim."""
        row = callbacks.send_test(self.callback_url("hook", at), actor=MARK, at=at)
        row.answer = MARK
        return row

    def connection(self, at):
        """The shop is one that Kontor visits itself; the name of a log-in that has begun."""
        settings = {
            "shop_url": "http://127.0.0.1:9",  # nobody is asked: without https it is refused
            "consumer_key": f"ck_{MARK}",
            "consumer_secret": f"cs_{MARK}",
        }
        row = connections.add_connection(self.shop, "woocommerce", settings, at)
        return connections.begin_login(row, at)

    def sent_mail(self, at):
        """One that has left, of no order: whatever is done to orders, it stays."""
        queue_mail(
            "payment_received",
            merchant_id=self.merchant.id,
            shop_id=self.shop.id,
            order_id=None,
            language="de",
            recipient=f"{MARK.lower()}@example.org",
            once=f"sent:{MARK}",
            facts=sample_facts("payment_received", "de", at.date()),
            theme=Theme(),
            sender_name=MARK,
            sender_address=None,
        )
        mail = db.session.query(Mail).filter_by(once=f"sent:{MARK}").one()
        mail.succeed(at)
        mail.subject = mail.text = mail.html = MARK
        mail.headers = f"Subject: {MARK}"
        db.session.commit()
        return mail

    def share(self, account_id):
        """The victim runs the installation, and another merchant uses the account too."""
        self.merchant.is_operator = True
        sharing.share_account(self.merchant, account_id)
        guest = make_merchant(f"{MARK} Nachbar", account=False)
        own = sharing.add_member(self.merchant, account_id, guest.id)
        sharing.set_payout(guest.id, own.id, "DE89370400440532013000", MARK)
        for amount in ("8.00", "9.00"):
            sharing.pass_on(make_posting(self.merchant, amount, MARK), guest.id)
            if amount == "8.00":
                day = today()
                sharing.pay_out(self.merchant, account_id, at=now(), on=day, actor=MARK)
        (made,) = sharing.payouts(self.merchant, account_id, limit=1)
        db.session.commit()
        return guest, made.message_id

    def key_id(self, rule):
        """The id of the key that a route is about: one of the shop, or one of the bank."""
        scope = "shop" if "shop_id" in rule.arguments else "bank"
        return self.keys[scope]["Authorization"].split("_")[1]

    def values(self, rule):
        """What to put into the parameters of a route."""
        ids = {**self.ids, "key_id": self.key_id(rule)}
        ids["export_key_id"] = self.keys["export"]["Authorization"].split("_")[1]
        # A code is there as long as money is owed, and the proof is of the other order.
        is_open = {"dashboard.orders.qr_code", "dashboard.orders.proof"}
        if rule.endpoint in is_open or rule.endpoint.startswith("dashboard.dunning_preview."):
            ids["order_id"] = self.open_order.id
        if rule.endpoint == "dashboard.ignore_rules.delete":  # an empty form deletes the other one
            ids["rule_id"] = self.spare_rule.id
        return {name: ids[name] for name in rule.arguments - NOT_IDS}


@pytest.fixture
def anna(app):
    return Victim(app)


@pytest.fixture
def bob(app):
    return Party(app, "Bobs Laden", "Bob")


def routes(app, *, with_id):
    """(rule, method) of every route, with or without a parameter that names a row."""
    for rule in app.url_map.iter_rules():
        if bool(rule.arguments - NOT_IDS) == with_id and not rule.arguments & NOT_IDS:
            for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
                yield rule, method


def fingerprint(party):
    """Everything the merchant has, as one number: did anybody change anything?"""
    tables = [table.name for table in db.metadata.sorted_tables if "merchant_id" in table.columns]
    rows = [
        db.session.execute(
            text(
                f'select md5(string_agg(t::text, chr(10) order by t::text)) from "{name}" t'
                " where merchant_id = :m"
            ),
            {"m": party.merchant.id},
        ).scalar()
        for name in tables
    ]
    return dict(zip(tables, rows, strict=True))


def url_of(app, rule, values):
    return app.url_map.bind("localhost").build(rule.endpoint, values, method=None)


def test_a_stranger_finds_nothing_at_any_address_with_an_id(app, anna, bob):
    before, wrong, asked = fingerprint(anna), [], 0
    for rule, method in routes(app, with_id=True):
        url = url_of(app, rule, anna.values(rule))
        answer = bob.ask(app, rule, method, url)
        asked += 1
        if answer.status_code != 404 or MARK.encode() in answer.data:
            wrong.append((method, url, answer.status_code, MARK.encode() in answer.data))
    assert wrong == []
    assert asked >= 25
    db.session.rollback()
    assert fingerprint(anna) == before


def test_the_owner_finds_something_at_every_one_of_them(app, anna):
    """So the 404 of the stranger is about who asks, and not about a wrong id."""
    wrong, shown = [], set()
    order = {"GET": 0, "PUT": 1, "POST": 2}
    for rule, method in sorted(routes(app, with_id=True), key=lambda r: order[r[1]]):
        url = url_of(app, rule, anna.values(rule))
        answer = anna.ask(app, rule, method, url)
        if answer.status_code in (401, 403, 404, 405) or answer.status_code >= 500:
            wrong.append((method, url, answer.status_code))
        if MARK.encode() in answer.data:
            shown.add(rule.endpoint)
    assert wrong == []
    assert len(shown) >= 10


def test_lists_and_forms_show_a_stranger_nothing_of_others(app, anna, bob):
    skipped = {"dashboard.login.log_out", "dashboard.account.log_out_everywhere"}
    before = fingerprint(anna)
    for rule, method in routes(app, with_id=False):
        if rule.endpoint in skipped or (rule.endpoint, method) in PUBLIC:
            continue
        answer = bob.ask(app, rule, method, rule.rule)
        assert MARK.encode() not in answer.data, (method, rule.rule)
        assert answer.status_code < 500, (method, rule.rule)
    db.session.rollback()
    assert fingerprint(anna) == before


def test_ids_in_forms_and_queries_are_scoped_as_well(app, anna, bob):
    before = fingerprint(anna)
    posting = make_posting(bob.merchant, "30.00")
    order = make_order(bob.shop)
    make_user(bob.merchant, "second@example.org")
    shop, open_id = str(anna.shop.id), str(anna.open_order.id)
    manual = {"number": "X-1", "total": "1,00", "code": "prepayment", "email": "x@example.org"}
    theirs = [
        *(
            ("POST", "/orders/bulk", {"act": act, "order": open_id, "confirmed": "yes"})
            for act in order_bulk.ACTS
        ),
        ("POST", "/orders/bulk", {"act": "cancel", "order": open_id}),
        ("GET", f"/orders?failed={open_id}-has_payments", {}),
        ("POST", "/orders/new", manual | {"shop": shop}),
        ("POST", "/orders/import", {"shop": shop, "order": anna.open_order.number}),
        ("POST", f"/orders/{order.id}/credit", {"posting": str(anna.posting.id)}),
        ("POST", f"/orders/{order.id}/surplus", {"to": open_id, "amount": "1,00"}),
        ("GET", f"/orders/{order.id}?q={MARK}", {}),
        ("GET", f"/orders/{order.id}/proofs/{anna.ids['proof_id']}", {}),
        ("GET", f"/settings/prepayment?shop={shop}", {}),
        ("POST", "/settings/prepayment", {"shop": shop, "prepayment.reminders": "0"}),
        ("POST", "/settings/reset", {"shop": shop, "name": "prepayment.reminders"}),
        ("POST", "/settings/changes/decide", {"change": str(anna.change.id), "agrees": "yes"}),
        ("POST", "/settings/changes/decide", {"change": str(anna.change.id), "agrees": "no"}),
        ("POST", "/settings/file/apply", {"text": f"version = 1\n[[shop]]\nid = {shop}\n"}),
        ("GET", f"/dunning/runs?before={anna.ids['run_id'] + 1}", {}),
        ("POST", f"/postings/{posting.id}/assign", {f"amount-{anna.open_order.id}": "10,00"}),
        ("POST", f"/postings/{posting.id}/confirm", {"suggestion": str(anna.suggestion.id)}),
        ("POST", f"/postings/{posting.id}/undo", {"assignment": str(anna.booked.id)}),
        ("POST", f"/orders/{order.id}/assignments/{anna.booked.id}/undo", {}),
        ("GET", f"/orders/{order.id}/invoices/{anna.ids['invoice_id']}", {}),
        ("GET", f"/postings?undo={anna.posting.id}&done=assigned", {}),
        ("GET", f"/postings/{posting.id}?undo={anna.posting.id}", {}),
        ("GET", f"/postings/{posting.id}?order={anna.open_order.id}", {}),
        ("POST", "/postings/bulk", {"act": "ignore", "posting": str(anna.posting.id)}),
        ("GET", f"/relay/log?connection={anna.system.connection.id}&period=all", {}),
        ("POST", f"/relay/{bob.system.connection.id}/domains",
         {"domain": str(anna.ids["domain_id"])}),
        ("POST", f"/relay/{bob.system.connection.id}/check",
         {"domain": str(anna.ids["domain_id"])}),
        ("POST", "/relay/plans/merchant", {"merchant": str(anna.merchant.id)}),
        ("GET", f"/postings?account={anna.posting.account_id}", {}),
        ("GET", f"/postings?statement={anna.ids['statement_id']}", {}),
        ("GET", f"/postings/export.csv?statement={anna.ids['statement_id']}", {}),
        ("GET", f"/postings/export.csv?account={anna.posting.account_id}", {}),
        ("GET", f"/ignore-rules/preview?kind=text&value={MARK}", {}),
        ("GET", f"/orders?shop={anna.shop.id}", {}),
        ("GET", f"/orders?text={MARK}", {}),
        ("GET", f"/postings/{posting.id}/orders?text={MARK}", {}),
        ("GET", f"/shops/{bob.shop.id}/keys/{anna.keys['shop']['Authorization'][14:26]}/revoke",
         {}),
    ]  # fmt: skip
    for method, url, form in theirs:
        answer = bob.client.open(
            url, method=method, data=form, headers=bob.form if method == "POST" else {}
        )
        page = answer.text.replace(f'value="{MARK}"', "")  # what was typed may be shown again
        assert f"{MARK}-" not in page and f"{MARK.lower()}@" not in page.lower(), url
        assert f"{MARK} OHG" not in page, url
        assert answer.status_code < 500, url
    db.session.rollback()
    assert fingerprint(anna) == before


def test_a_key_of_one_shop_does_not_open_another_shop_of_the_same_merchant(app, anna):
    second = make_shop(anna.merchant, "Zweiter Laden")
    key = bearer(make_key(anna.merchant, "shop", second)[1])
    client = app.test_client()
    assert client.get("/api/v1/orders/77001", headers=key).status_code == 404
    assert client.get("/api/v1/orders", headers=key).json["orders"] == []
    assert client.get("/api/v1/payment-updates", headers=key).json["payment_updates"] == []
    url = f"/api/v1/payment-updates/{anna.ids['update_id']}/acknowledgement"
    assert client.post(url, json={"outcome": "applied"}, headers=key).status_code == 404


def test_a_key_of_the_other_scope_is_refused_everywhere(app, anna):
    other = dict.fromkeys(("bank", "relay", "export"), anna.keys["shop"])
    other["shop"] = anna.keys["bank"]
    for with_id in (True, False):
        for rule, method in routes(app, with_id=with_id):
            scope = getattr(app.view_functions[rule.endpoint], "api_scope", None)
            if scope is not None:
                url = url_of(app, rule, anna.values(rule))
                answer = app.test_client().open(url, method=method, headers=other[scope])
                wanted = 401 if scope == "relay" else 403  # a password is no key
                assert answer.status_code == wanted, (method, url)


def test_nothing_answers_without_a_key_or_a_session(app, anna):
    before = fingerprint(anna)
    for rule in app.url_map.iter_rules():
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            if (rule.endpoint, method) in PUBLIC:
                continue
            url = url_of(app, rule, anna.values(rule))
            answer = app.test_client().open(url, method=method)
            wanted = 401 if url.startswith(("/api/", "/export/")) else 303
            assert answer.status_code == wanted, (method, url, answer.status_code)
            assert MARK.encode() not in answer.data
            if wanted == 303:
                assert answer.location.startswith("/login")
    assert fingerprint(anna) == before


@pytest.mark.parametrize("lost", ["revoked", "disabled", "deregistered"])
@pytest.mark.feature("K12")
def test_a_key_that_is_revoked_or_of_a_disabled_shop_opens_nothing(app, anna, lost):
    key = anna.keys["shop"]
    if lost == "revoked":
        key_id = key["Authorization"].split("_")[1]
        assert merchants.revoke_api_key(anna.merchant.id, key_id, now())
    else:
        anna.shop.status = lost
    db.session.commit()
    answer = app.test_client().get("/api/v1/orders", headers=key)
    assert answer.status_code == (401 if lost == "revoked" else 403)
    assert anna.shop.status == ("connected" if lost == "revoked" else lost)


def test_the_ledger_mixes_no_tenants(anna, bob):
    """The database itself refuses it: the keys between the tables hold the merchant too."""
    from sqlalchemy.exc import IntegrityError

    row = mark_as_paid(anna.merchant.id, anna.open_order.id, actor="", at=now())
    db.session.commit()
    row.merchant_id = bob.merchant.id
    with pytest.raises(IntegrityError):
        db.session.flush()
    db.session.rollback()
