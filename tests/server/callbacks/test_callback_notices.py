"""The mail to the merchant about an address that takes no callbacks: once a fault, in his words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from server.callbacks import service
from server.callbacks.models import Callback, CallbackUrl
from server.callbacks.service import TELL_AFTER, Trouble
from server.db import db, now
from server.jobs import drain_callback
from server.mail.models import Mail
from server.mail.service import preview_mail
from server.orders.merchant_notices import tell_of_callback
from server.orders.service import assign
from tests.factories import AT, make_merchant, make_order, make_posting, make_user
from tests.server.dashboard.visitor import member

pytestmark = pytest.mark.feature("K79")

MINUTE = timedelta(minutes=1)


@pytest.fixture
def anna(merchant):
    return make_user(merchant)


def change(merchant, shop) -> None:
    """An order gets another payment status, and the address is to hear of it."""
    posting = make_posting(merchant)
    amount = [(make_order(shop).id, Decimal("19.90"))]
    assign(merchant.id, posting.id, amount, actor="anna", at=now())
    db.session.commit()


def post_again(url: CallbackUrl, failing_for: timedelta | None = None) -> None:
    """The worker posts what waits, without its pause."""
    for row in db.session.scalars(select(Callback).where(Callback.status == "queued")):
        row.due_at = now()
    url.paused_until = None
    if failing_for is not None:
        url.failing_since = now() - failing_for
    db.session.commit()
    drain_callback()
    db.session.expire_all()


def notices() -> list[Mail]:
    query = select(Mail).where(Mail.kind == "callback_failing").order_by(Mail.id)
    return list(db.session.scalars(query))


def test_who_fails_for_six_hours_is_told_once_and_of_the_next_fault_again(
    anna, merchant, shop, receiver, url
):
    receiver.answer(500)
    change(merchant, shop)
    post_again(url, TELL_AFTER - MINUTE)
    assert notices() == []
    post_again(url, TELL_AFTER)
    (notice,) = notices()
    assert (notice.recipient, notice.merchant_id) == ("anna@example.org", merchant.id)
    post_again(url)
    change(merchant, shop)
    post_again(url)
    assert len(receiver.received) == 4
    assert notices() == [notice]

    receiver.answer(200)
    post_again(url)
    post_again(url)
    assert service.state_of(url) == "working"
    receiver.answer(500)
    change(merchant, shop)
    post_again(url, TELL_AFTER)
    assert len(notices()) == 2


def test_who_answers_410_is_told_once_though_several_were_on_their_way(
    anna, merchant, shop, receiver, url
):
    receiver.answer(410)
    for _ in range(3):
        change(merchant, shop)
    post_again(url)
    assert (service.state_of(url), len(receiver.received)) == ("gone", 3)
    assert len(notices()) == 1

    service.switch_on(url)
    change(merchant, shop)
    post_again(url)
    assert len(notices()) == 2  # it said so again


def test_whoever_asks_twice_writes_once(anna, merchant, url):
    fault = Trouble(merchant.id, url.id, url.url, "failing", AT)
    others = (replace(fault, because="gone"), replace(fault, url_id=url.id + 1))
    for trouble in (fault, fault, *others):
        tell_of_callback(trouble)
    assert [mail.once for mail in notices()] == [
        f"callback:{number}:{because}:{AT.isoformat()}:{anna.id}"
        for number, because in ((url.id, "failing"), (url.id, "gone"), (url.id + 1, "failing"))
    ]


def test_only_the_merchant_of_the_address_hears_of_it(anna, url):
    bob = make_merchant("Bobs Basar")
    make_user(bob, "bob@example.org")
    tell_of_callback(Trouble(bob.id, url.id, url.url, "failing", AT))
    assert [(mail.merchant_id, mail.recipient) for mail in notices()] == [
        (bob.id, "bob@example.org")
    ]


@pytest.mark.parametrize(
    ("language", "because", "said", "unsaid"),
    [
        (
            "de",
            "failing",
            (
                "Callbacks an Ihr Programm kommen nicht an",
                "Kein Aufruf wurde mit 2xx beantwortet.",
                "02.03.2026, 10:00",
                "schreiben wir Ihnen nur einmal",
            ),
            "abgeschaltet",
        ),
        (
            "de",
            "gone",
            (
                "Ein Programm von Ihnen will keine Callbacks mehr",
                "Die Adresse hat mit 410 geantwortet: Sie will nichts mehr hören.",
                "Kontor hat die Adresse abgeschaltet",
                "schalten Sie die Adresse dort an",
            ),
            "15 Minuten",
        ),
        (
            "en",
            "failing",
            (
                "Callbacks to your program are not delivered",
                "No call was answered with 2xx.",
                "2 March 2026, 10:00",
                "only once about this fault",
            ),
            "switched",
        ),
        (
            "en",
            "gone",
            (
                "A program of yours wants no more callbacks",
                "The address answered 410: it wants to hear no more.",
                "Kontor has switched the address off",
                "switch the address on there",
            ),
            "15 minutes",
        ),
    ],
)
def test_it_says_where_since_when_and_why(anna, merchant, url, language, because, said, unsaid):
    """And keeps to itself what stands behind the question mark."""
    anna.language = language
    typed = "https://erp.example.org/hooks/kontor?token=hush#there"
    tell_of_callback(Trouble(merchant.id, url.id, typed, because, AT))
    (notice,) = notices()
    message = preview_mail(notice)
    text = " ".join(f"{message.subject} {message.text}".split())
    for words in said:
        assert words in text
    assert unsaid not in text
    assert " https://erp.example.org/hooks/kontor " in text
    assert not any("hush" in part for part in (text, message.html, str(notice.facts)))


def test_its_link_opens_the_address(app, merchant, url):
    visitor = member(app, merchant)
    tell_of_callback(Trouble(merchant.id, url.id, url.url, "failing", AT))
    (notice,) = notices()
    link = notice.facts["page_url"]
    answer = visitor.get(link[link.index("/settings") :])
    assert answer.status_code == 200
    assert url.url in answer.text
