"""A sending domain's life against a DNS on loopback: proven, failing, broken, its keys changed."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dkim
import pytest
from sqlalchemy import event, select

from server import config
from server.db import db, now
from server.jobs import drain_sending_domain
from server.mail import bounces, domains
from server.mail.delivery import Desk, write_letter
from server.mail.dkim import sign
from server.mail.dns import Resolver
from server.mail.domain_rules import Check, DomainError, Report
from server.mail.models import DkimKey, Mail, SendingDomain
from server.merchants.models import Merchant
from server.orders.merchant_notices import tell_of_domain
from server.vault import Vault
from tests.factories import make_merchant, make_order, make_shop, make_user
from tests.fakes.dns_server import FakeDns

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HOUSE = "kontor.example.org"


@pytest.fixture
def dns() -> Iterator[FakeDns]:
    with FakeDns() as running:
        running.put(HOUSE, "TXT", "v=spf1 ip4:192.0.2.1 -all")
        yield running


@pytest.fixture
def resolver(dns: FakeDns) -> Resolver:
    return Resolver([dns.server])


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def row(merchant) -> SendingDomain:
    made = domains.add(merchant.id, "Anna@Laden.Example", AT)
    db.session.commit()
    return made


def look(row: SendingDomain, resolver: Resolver, at: datetime = AT) -> domains.Broken | None:
    asked = domains.question(row)
    event_of = domains.settle(row.id, domains.observe(asked, resolver, domains.home()), at)
    db.session.commit()
    return event_of


def publish(dns: FakeDns, row: SendingDomain) -> None:
    """What a merchant does: copy every record."""
    for record in domains.records_of(row):
        dns.put(record.name, record.kind, record.value)


def unpublish(dns: FakeDns, row: SendingDomain) -> None:
    for record in domains.records_of(row):
        dns.remove(record.name, record.kind)


def may_sign(row: SendingDomain) -> bool:
    return bool(domains.signing_keys([(row.merchant_id, row.name)]))


# --- proven -------------------------------------------------------------------------------------


@pytest.mark.feature("S13", "S15", "S17")
def test_a_domain_is_proven_when_its_records_are_there(
    row: SendingDomain, dns: FakeDns, resolver: Resolver
) -> None:
    assert domains.state_of(row) == "new"
    assert look(row, resolver) is None
    assert domains.state_of(row) == "waiting"
    assert not may_sign(row)
    publish(dns, row)
    look(row, resolver, AT + HOUR)
    assert domains.state_of(row) == "proven"
    assert row.proven_at == AT + HOUR
    assert domains.proven_names(row.merchant_id) == {"laden.example"}
    look(row, resolver, AT + DAY)
    assert row.proven_at == AT + HOUR


@pytest.mark.feature("S13")
def test_what_is_signed_verifies_against_the_published_records(
    row: SendingDomain, dns: FakeDns, resolver: Resolver
) -> None:
    publish(dns, row)
    look(row, resolver)
    name = (row.merchant_id, "laden.example")
    raw = sign(b"From: anna@laden.example\r\n\r\nHello\r\n", domains.signing_keys([name])[name], AT)

    def ask(record: bytes, timeout: int = 5) -> bytes:
        return resolver.lookup(record.decode(), "TXT").records[0].encode()

    assert dkim.verify(raw, dnsfunc=ask)


@pytest.mark.feature("S17")
@pytest.mark.parametrize("missing", ["kontor1._domainkey.laden.example", "laden.example"])
def test_one_of_both_is_not_enough(
    row: SendingDomain, dns: FakeDns, resolver: Resolver, missing: str
) -> None:
    publish(dns, row)
    dns.remove(missing, "TXT")
    look(row, resolver)
    assert domains.state_of(row) == "waiting"


@pytest.mark.feature("S16")
def test_dmarc_and_the_next_key_are_only_recommended(
    row: SendingDomain, dns: FakeDns, resolver: Resolver
) -> None:
    publish(dns, row)
    dns.remove("_dmarc.laden.example", "TXT")
    dns.remove("kontor2._domainkey.laden.example", "TXT")
    look(row, resolver)
    assert domains.state_of(row) == "proven"


@pytest.mark.feature("S15", "N14")
def test_the_record_to_copy_has_the_one_that_is_there_in_it(
    row: SendingDomain, dns: FakeDns, resolver: Resolver
) -> None:
    dns.put("laden.example", "TXT", "v=spf1 mx -all")
    look(row, resolver)
    shown = {one.key: one.value for one in domains.records_of(row)}
    assert shown["spf"] == f"v=spf1 mx include:{HOUSE} -all"


# --- what cannot be asked -----------------------------------------------------------------------


@pytest.mark.feature("N14")
@pytest.mark.parametrize("fault", ["SERVFAIL", "silence"])
def test_a_dns_that_is_away_neither_proves_nor_breaks(
    row: SendingDomain, dns: FakeDns, resolver: Resolver, fault: str
) -> None:
    names = [record.name for record in domains.records_of(row)]
    impatient = Resolver([dns.server], seconds=0.2)
    publish(dns, row)
    dns.faults = dict.fromkeys(names, fault)
    look(row, impatient)
    assert domains.state_of(row) == "waiting"
    dns.faults = {}
    look(row, resolver, AT + HOUR)
    dns.faults = dict.fromkeys(names, fault)
    for days in range(1, 8):
        assert look(row, impatient, AT + days * DAY) is None
    assert domains.state_of(row) == "proven"
    assert row.due_at == AT + 7 * DAY + HOUR  # it is asked again soon


# --- broken -------------------------------------------------------------------------------------


@pytest.mark.feature("S17", "N14")
def test_a_proven_domain_breaks_after_two_failures_a_day_apart_and_is_told_once(
    row: SendingDomain, dns: FakeDns, resolver: Resolver
) -> None:
    publish(dns, row)
    look(row, resolver)
    unpublish(dns, row)
    assert look(row, resolver, AT + DAY) is None
    assert domains.state_of(row) == "failing"
    assert may_sign(row)
    assert row.due_at == AT + 2 * DAY
    assert look(row, resolver, AT + DAY + 23 * HOUR) is None
    broken = look(row, resolver, AT + 2 * DAY)
    assert broken is not None
    assert broken.since == AT + DAY
    assert [(one.key, one.state) for one in broken.problems] == [
        ("kontor1", "missing"),
        ("spf", "missing"),
    ]
    assert domains.state_of(row) == "broken"
    assert not may_sign(row)
    for days in (3, 4, 5):
        assert look(row, resolver, AT + days * DAY) is None
    publish(dns, row)
    look(row, resolver, AT + 6 * DAY)
    assert domains.state_of(row) == "proven"
    unpublish(dns, row)
    look(row, resolver, AT + 7 * DAY)
    assert look(row, resolver, AT + 8 * DAY) is not None  # another break is told again


@pytest.mark.feature("N14")
def test_a_good_answer_in_between_forgets_the_failure(
    row: SendingDomain, dns: FakeDns, resolver: Resolver
) -> None:
    publish(dns, row)
    look(row, resolver)
    unpublish(dns, row)
    look(row, resolver, AT + DAY)
    publish(dns, row)
    look(row, resolver, AT + 30 * HOUR)
    assert domains.state_of(row) == "proven"
    unpublish(dns, row)
    assert look(row, resolver, AT + 2 * DAY) is None
    assert domains.state_of(row) == "failing"


def test_a_time_out_in_between_does_not_forget_it(
    row: SendingDomain, dns: FakeDns, resolver: Resolver
) -> None:
    publish(dns, row)
    look(row, resolver)
    unpublish(dns, row)
    look(row, resolver, AT + DAY)
    dns.faults = {"laden.example": "SERVFAIL", "kontor1._domainkey.laden.example": "SERVFAIL"}
    look(row, resolver, AT + DAY + HOUR)
    assert domains.state_of(row) == "failing"
    dns.faults = {}
    assert look(row, resolver, AT + 2 * DAY) is not None


@pytest.mark.feature("N14")
def test_the_administrators_are_told_which_record_broke(row: SendingDomain, merchant) -> None:
    make_user(merchant)
    report = Report((Check("kontor1", "wrong", "cut"),))
    broken = domains.Broken(row.id, merchant.id, row.name, AT, report.checks)
    for _ in range(2):
        tell_of_domain(broken)
    mails = list(db.session.scalars(select(Mail).where(Mail.kind == "domain_broken")))
    assert len(mails) == 1
    assert mails[0].facts["domain"] == "laden.example"
    assert "DKIM" in mails[0].facts["problem"]
    assert mails[0].facts["page_url"].endswith(f"/settings/domains/{row.id}")


def test_a_break_of_the_house_itself_stands_in_the_log(
    app, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        tell_of_domain(domains.Broken(1, None, HOUSE, AT, ()))
    assert HOUSE in caplog.text


# --- when it is looked at -----------------------------------------------------------------------


def test_a_new_domain_is_looked_at_every_hour_later_every_day(
    row: SendingDomain, dns: FakeDns, resolver: Resolver
) -> None:
    look(row, resolver, AT)
    assert row.due_at == AT + HOUR
    look(row, resolver, AT + 8 * DAY)
    assert row.due_at == AT + 9 * DAY
    publish(dns, row)
    look(row, resolver, AT + 9 * DAY)
    assert (row.due_at, row.status) == (AT + 10 * DAY, "queued")


@pytest.mark.feature("N14")
def test_the_worker_looks_at_what_is_due(
    merchant, dns: FakeDns, monkeypatch: pytest.MonkeyPatch, app
) -> None:
    settings = replace(app.config["SETTINGS"], dns_servers=(dns.server,))
    monkeypatch.setitem(app.config, "SETTINGS", settings)
    make_user(merchant)
    row = domains.add(merchant.id, "laden.example", now() - DAY)
    db.session.commit()
    publish(dns, row)
    assert drain_sending_domain() is False
    assert domains.state_of(row) == "proven"
    assert row.due_at > now()
    unpublish(dns, row)
    row.failing_since, row.due_at = now() - DAY, now()
    db.session.commit()
    drain_sending_domain()
    assert domains.state_of(row) == "broken"
    assert db.session.scalar(select(Mail.kind)) == "domain_broken"


def test_a_domain_that_was_removed_meanwhile_is_nothing(
    row: SendingDomain, resolver: Resolver
) -> None:
    asked, row_id = domains.question(row), row.id
    domains.remove(row)
    db.session.commit()
    report = domains.observe(asked, resolver, domains.home())
    assert domains.settle(row_id, report, AT) is None
    assert db.session.scalar(select(DkimKey.id)) is None


# --- keys ---------------------------------------------------------------------------------------


@pytest.mark.feature("N14")
def test_keys_are_changed_without_a_gap(
    row: SendingDomain, dns: FakeDns, resolver: Resolver
) -> None:
    with pytest.raises(domains.NotReady):
        domains.rotate(row, AT)
    publish(dns, row)
    dns.remove("kontor2._domainkey.laden.example", "TXT")
    look(row, resolver)
    with pytest.raises(domains.NotReady):
        domains.rotate(row, AT)
    publish(dns, row)
    look(row, resolver)
    domains.rotate(row, AT)
    db.session.commit()
    name = (row.merchant_id, row.name)
    assert domains.signing_keys([name])[name].selector == "kontor2"
    assert "kontor1" not in [one.key for one in domains.records_of(row)]  # stays as it is
    with pytest.raises(domains.NotReady):
        domains.rotate(row, AT)
    old = {key.public_key for key in domains.keys_of(row)}
    look(row, resolver, AT + 6 * DAY)
    assert {key.public_key for key in domains.keys_of(row)} == old
    look(row, resolver, AT + 7 * DAY)
    fresh = next(key for key in domains.keys_of(row) if key.selector == "kontor1")
    assert fresh.status == "next"
    assert fresh.public_key not in old
    look(row, resolver, AT + 7 * DAY + HOUR)
    check = domains.report_of(row).of("kontor1")
    assert check is not None
    assert check.reason == "key_mismatch"  # the old one is still published
    assert domains.state_of(row) == "proven"
    publish(dns, row)
    look(row, resolver, AT + 8 * DAY)
    domains.rotate(row, AT + 8 * DAY)
    assert domains.signing_keys([name])[name].selector == "kontor1"


def test_private_keys_are_sealed_and_can_be_sealed_anew(row: SendingDomain) -> None:
    key = domains.keys_of(row)[0]
    assert b"0\x82" not in key.private_key[:4]  # no DER
    before = key.private_key
    keys = config.installed().encryption_keys
    newer = "AQ" + keys[0][2:]
    assert domains.reseal_all(Vault((newer, *keys))) == 2
    assert key.private_key != before
    assert Vault((newer,)).open_bytes(key.private_key)


@pytest.mark.feature("S17")
def test_a_key_that_cannot_be_opened_does_not_stop_the_mail(
    row: SendingDomain, dns: FakeDns, resolver: Resolver, caplog: pytest.LogCaptureFixture
) -> None:
    publish(dns, row)
    look(row, resolver)
    for key in domains.keys_of(row):
        key.private_key = b"sealed under a key that is gone"
    db.session.flush()
    assert not may_sign(row)
    assert "laden.example" in caplog.text


@pytest.mark.real_commits
def test_several_looks_at_once_do_it_once(app) -> None:
    """A worker and somebody who presses the button."""
    made = domains.add(make_merchant().id, "laden.example", AT)
    made.proven_at, made.failing_since = AT, AT
    old = domains.keys_of(made)[1]
    old.status, old.retired_at = "retired", AT - 8 * DAY
    db.session.commit()
    domain_id, start = made.id, threading.Barrier(4)
    report = Report((Check("kontor1", "missing", "absent"), Check("spf", "ok")))

    def settle(number: int) -> bool:
        with app.app_context():
            db.session.connection()  # connected before the start, so that nobody is late
            db.session.rollback()
            start.wait(10)
            at = AT + DAY + number * timedelta(seconds=1)
            broken = domains.settle(domain_id, report, at)
            db.session.commit()
            db.session.remove()
            return broken is not None

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(settle, range(4)))
    assert told.count(True) == 1
    assert [key.status for key in domains.keys_of(made)] == ["current", "next"]


# --- whose --------------------------------------------------------------------------------------


@pytest.fixture
def count_queries(app) -> Iterator[Callable[[], int]]:
    seen: list[str] = []

    def note(_conn, _cursor, statement: str, *_: object) -> None:
        if statement.startswith("SELECT"):
            seen.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    yield lambda: len(seen)
    event.remove(db.engine, "before_cursor_execute", note)


@pytest.mark.feature("S13")
def test_merchants_have_keys_of_their_own_for_one_domain(
    row: SendingDomain, dns: FakeDns, resolver: Resolver, count_queries: Callable[[], int]
) -> None:
    other = domains.add(make_merchant("Bob").id, "laden.example", AT)
    house = domains.add(None, HOUSE, AT)
    db.session.commit()
    publish(dns, row)
    for one in (row, other, house):
        look(one, resolver)
    assert [domains.state_of(one) for one in (row, other, house)] == [
        "proven",
        "waiting",
        "waiting",
    ]
    asked = [
        (row.merchant_id, "Laden.Example"),
        (other.merchant_id, "laden.example"),
        (None, HOUSE),
        (None, "laden.example"),
        (row.merchant_id, "laden.example"),
    ]
    before = count_queries()
    found = domains.signing_keys(asked)
    assert count_queries() - before == 1
    assert list(found) == [asked[0], asked[-1]]
    assert found[asked[0]].domain == "laden.example"
    assert domains.signing_keys([]) == {}


def test_a_strangers_domain_is_none(row: SendingDomain) -> None:
    stranger = make_merchant("Bob")
    assert domains.domain_of(stranger.id, row.id) is None
    assert domains.domain_of(row.merchant_id or 0, row.id) is row
    assert domains.domains_of(stranger.id) == []


@pytest.mark.feature("S14")
def test_what_is_refused(row: SendingDomain, monkeypatch: pytest.MonkeyPatch) -> None:
    assert row.merchant_id is not None
    for typed, why in [
        ("anna@gmail.com", "freemail"),
        ("laden", "invalid"),
        ("laden.example", "already_there"),
    ]:
        with pytest.raises(DomainError) as refused:
            domains.add(row.merchant_id, typed, AT)
        assert refused.value.args == (why,)
    monkeypatch.setattr(domains, "MAX_DOMAINS", 1)
    with pytest.raises(DomainError) as refused:
        domains.add(row.merchant_id, "other.example", AT)
    assert refused.value.args == ("too_many",)


# --- where bounces come back to -----------------------------------------------------------------


@pytest.fixture
def takes_bounces(app) -> Iterator[None]:
    settings = config.installed()
    config.install(replace(settings, bounce_domain="bounces.example.org"))
    yield
    config.install(settings)


@pytest.mark.feature("S10", "N14")
def test_mails_come_back_to_a_name_of_the_shops_own_while_it_leads_to_us(
    row: SendingDomain, dns: FakeDns, resolver: Resolver, takes_bounces: None
) -> None:
    shop = make_shop(db.session.get_one(Merchant, row.merchant_id))
    make_order(shop)
    mail = db.session.scalars(select(Mail)).one()
    mail.sender_address = "anna@laden.example"

    def envelope() -> str:
        return write_letter(mail, Desk.of([mail], AT)).sender

    assert envelope().endswith("@bounces.example.org")
    publish(dns, row)
    look(row, resolver)
    own = envelope()
    assert own.endswith("@bounce.laden.example")
    assert bounces.mail_of([own]) == mail.id
    forged = own.replace("@", "x@").replace(".", "a", 1)
    assert bounces.mail_of([forged]) is None
    dns.faults["bounce.laden.example"] = "SERVFAIL"
    look(row, resolver)
    assert envelope().endswith("@bounces.example.org")
    assert bounces.mail_of([own]) == mail.id  # what is on its way still comes back


# --- the house ----------------------------------------------------------------------------------


def test_where_the_include_comes_from(app, monkeypatch: pytest.MonkeyPatch) -> None:
    assert domains.home().spf_include == HOUSE
    assert domains.has_house_domain()
    settings = config.installed()
    config.install(replace(settings, spf_include="_spf.example.org", mail_from="K <k@localhost>"))
    try:
        assert domains.home().spf_include == "_spf.example.org"
        assert not domains.has_house_domain()
    finally:
        config.install(settings)


@pytest.mark.real_commits
@pytest.mark.feature("S15")
def test_the_operator_reads_and_checks_the_records_of_the_house(app, dns: FakeDns) -> None:
    def command(*arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
        settings = config.installed()
        env = os.environ | {
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "KONTOR_SECRET_KEY": settings.secret_key,
            "KONTOR_ENCRYPTION_KEYS": settings.encryption_keys[0],
            "KONTOR_MAIL_FROM": settings.mail_from,
            "KONTOR_DNS_SERVERS": dns.server,
        }
        return subprocess.run(
            [sys.executable, "-m", "server", "mail-domain", *arguments],
            env=env | changed, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    shown = command()
    assert shown.returncode == 1, shown.stderr
    assert f"kontor1._domainkey.{HOUSE} TXT: not looked at yet" in shown.stdout
    publish(dns, domains.domains_of(None)[0])
    dns.put(HOUSE, "TXT", "v=spf1 ip4:192.0.2.1 -all")
    checked = command("--check")
    assert checked.returncode == 0, checked.stderr
    assert f"{HOUSE} TXT: ok" in checked.stdout
    assert "found: v=spf1 ip4:192.0.2.1 -all" in checked.stdout
    nowhere = command(KONTOR_MAIL_FROM="Kontor <kontor@localhost>")
    assert nowhere.returncode == 1
    assert "KONTOR_MAIL_FROM" in nowhere.stderr
