"""Callbacks: written with the change, signed, retried for seven days, in the order of events."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, text

from server import vault
from server.callbacks import service
from server.callbacks.models import CALLBACK_LIFETIME, KEPT, Callback, CallbackUrl
from server.clock import release
from server.db import db, now
from server.egress import AddressRefused
from server.jobs import KINDS, drain, drain_callback, due_kinds
from server.merchants.service import change_setting
from server.orders.service import assign, mark_as_paid, undo
from server.vault import Vault
from server.work import LEASE
from tests.factories import AT, bearer, make_key, make_merchant, make_order, make_posting, make_shop
from tests.server.callbacks.receiver import Receiver

pytestmark = pytest.mark.feature("K79")

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=n) for n in (1, 60, 3600, 86400))


def paid(merchant, shop, amount: str = "19.90", *, at=AT, order=None):
    """An order that money came for at this time."""
    order = order or make_order(shop)
    posting = make_posting(merchant, amount)
    assign(merchant.id, posting.id, [(order.id, Decimal(amount))], actor="anna", at=at)
    db.session.commit()
    return order


def rows() -> list[Callback]:
    return list(db.session.scalars(select(Callback).order_by(Callback.id)))


def when_next(row: Callback, url: CallbackUrl) -> datetime:
    turn = max(row.due_at, url.paused_until or row.due_at)
    return min(turn, row.queued_at + CALLBACK_LIFETIME)


# --- what is told -------------------------------------------------------------------------------


def test_a_change_is_told_with_the_order_as_the_api_tells_it(
    client, merchant, shop, receiver, secret, post
):
    order = paid(merchant, shop)
    post(AT)
    (told,) = receiver.received
    assert told.is_signed_with(secret)
    assert told.headers["content-type"] == "application/json"
    assert told.headers["webhook-timestamp"] == str(int(AT.timestamp()))
    assert told.message["type"] == "order.payment_status_changed"
    assert told.message["timestamp"] == AT.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    key = bearer(make_key(merchant, "shop", shop)[1])
    known = client.get(f"/api/v1/orders/{order.external_id}", headers=key).json
    assert known["payment_status"] == "paid"
    assert told.message["data"] == {
        **known,
        "previous_payment_status": "unpaid",
        "shop": {"id": shop.id, "name": shop.name, "system": "woocommerce"},
    }


def test_every_change_is_told_and_nothing_else(merchant, shop, receiver, url, post):
    order = make_order(shop)
    assert rows() == []  # that it came in is no change
    first = make_posting(merchant, "10.00")
    assign(merchant.id, first.id, [(order.id, Decimal("10.00"))], actor="anna", at=AT)
    more = make_posting(merchant, "2.00")
    assign(merchant.id, more.id, [(order.id, Decimal("2.00"))], actor="anna", at=AT)
    last = make_posting(merchant, "7.90")
    (booked,) = assign(merchant.id, last.id, [(order.id, Decimal("7.90"))], actor="anna", at=AT)
    undo(merchant.id, booked.id, actor="anna", at=AT)
    db.session.commit()
    for second in range(4):
        post(AT + second * SECOND)
    changes = [
        (one.message["data"]["previous_payment_status"], one.message["data"]["payment_status"])
        for one in receiver.received
    ]
    assert changes == [
        ("unpaid", "partially_paid"),
        ("partially_paid", "paid"),
        ("paid", "partially_paid"),
    ]
    assert [one.message["data"]["paid_total"] for one in receiver.received] == [
        "10.00",
        "19.90",
        "12.00",
    ]


def test_it_is_written_with_the_change_or_not_at_all(merchant, shop, url):
    order = make_order(shop)
    posting = make_posting(merchant)
    assign(merchant.id, posting.id, [(order.id, Decimal("19.90"))], actor="anna", at=AT)
    db.session.flush()
    assert len(rows()) == 1
    db.session.rollback()
    assert rows() == []


def test_without_an_address_nothing_is_written(merchant, shop, allowed):
    paid(merchant, shop)
    assert rows() == []


def test_an_address_of_one_shop_hears_of_no_other(merchant, shop, allowed, receiver, post):
    other = make_shop(merchant, "Zweitladen")
    service.add_url(merchant.id, receiver.url, shop_id=shop.id, actor="anna", at=AT)
    heard, _ = paid(merchant, shop), paid(merchant, other)
    post(AT)
    assert receiver.numbers == [(heard.number, "paid")]


def test_another_merchant_hears_nothing(shop, receiver, url, post):
    stranger = make_merchant("Bobs Basar")
    paid(stranger, make_shop(stranger, "Basar"))
    post(AT)
    assert receiver.received == []


def test_a_shop_in_test_mode_tells_nobody(merchant, shop, url):
    change_setting(merchant.id, "mode", "test", actor="anna", at=AT, shop_id=shop.id)
    paid(merchant, shop)
    assert rows() == []


def test_several_addresses_hear_each_with_its_own_secret(
    merchant, shop, allowed, receiver, secret, post
):
    second = Receiver()
    try:
        _, other_secret = service.add_url(
            merchant.id, second.url, shop_id=None, actor="anna", at=AT
        )
        paid(merchant, shop)
        post(AT)
        (one,), (other,) = receiver.received, second.received
        assert one.is_signed_with(secret)
        assert not one.is_signed_with(other_secret)
        assert other.is_signed_with(other_secret)
        assert one.id != other.id
    finally:
        second.stop()


# --- secrets ------------------------------------------------------------------------------------


def test_a_new_secret_signs_beside_the_old_one_for_a_day(
    merchant, shop, receiver, url, secret, post
):
    newer = service.rotate_secret(url, AT)
    paid(merchant, shop)
    post(AT)
    paid(merchant, shop, at=AT + 25 * HOUR)
    post(AT + 25 * HOUR)
    both, only_new = receiver.received
    assert both.is_signed_with(secret)
    assert both.is_signed_with(newer)
    assert not only_new.is_signed_with(secret)
    assert only_new.is_signed_with(newer)


def test_secrets_are_sealed_at_rest_and_sealed_anew(url, secret, settings):
    stored = db.session.scalar(text("select secret from callback_url"))
    assert secret.encode() not in bytes(stored)
    newer = "B" * 43 + "="
    service.rotate_secret(url, AT)
    assert service.reseal_all(Vault((newer, *settings.encryption_keys))) == 1
    assert len(Vault((newer,)).open_bytes(url.secret)) == 32
    assert url.old_secret is not None
    assert len(Vault((newer,)).open_bytes(url.old_secret)) == 32
    with pytest.raises(vault.VaultLocked):
        vault.installed().open_bytes(url.secret)


def test_a_secret_that_cannot_be_opened_stops_nobody_else(merchant, shop, allowed, receiver, url):
    second = Receiver()
    try:
        service.add_url(merchant.id, second.url, shop_id=None, actor="anna", at=AT)
        url.secret = b"no Fernet token"
        paid(merchant, shop, at=now())
        drain_callback()
        assert len(second.received) == 1
        lost = rows()[0]
        assert (lost.status, receiver.received) == ("queued", [])
        assert "KONTOR_ENCRYPTION_KEYS" in (lost.error or "")
    finally:
        second.stop()


# --- retries ------------------------------------------------------------------------------------


def test_it_comes_again_with_the_same_id_until_somebody_takes_it(
    merchant, shop, receiver, url, secret, post
):
    receiver.answer(500, 503, 200, words=b"busy")
    paid(merchant, shop)
    post(AT)
    (row,) = rows()
    assert (row.status, row.outcome, row.answer_status, row.answer) == (
        "queued",
        "refused",
        500,
        "busy",
    )
    assert post(AT + 3 * SECOND) == []
    post(AT + 7 * SECOND)
    post(AT + 2 * MINUTE)
    assert (row.status, row.outcome, row.attempts) == ("done", "delivered", 3)
    assert len({one.id for one in receiver.received}) == 1
    assert len({one.raw for one in receiver.received}) == 1
    assert len({one.headers["webhook-timestamp"] for one in receiver.received}) == 3
    assert all(one.is_signed_with(secret) for one in receiver.received)


def test_for_seven_days_about_every_quarter_of_an_hour_and_then_it_ends(
    merchant, shop, receiver, url, post
):
    receiver.answer(500)
    paid(merchant, shop)
    (row,) = rows()
    tried = []
    for began in (AT, AT + CALLBACK_LIFETIME - 6 * HOUR):  # the server was off in between
        at = began
        while row.status == "queued" and at < began + 7 * HOUR:
            if post(at):
                tried.append(at - AT)
            at = when_next(row, url)
    assert row.status == "failed"
    assert CALLBACK_LIFETIME <= row.finished_at - AT < CALLBACK_LIFETIME + MINUTE
    assert len(receiver.received) == len(tried)
    pauses = [later - earlier for earlier, later in zip(tried, tried[1:], strict=False)]
    assert [round(pause / SECOND, -1) for pause in pauses[:2]] == [pytest.approx(0, abs=10), 60]
    steady = [pause for pause in pauses[3:-1] if pause < HOUR]
    assert len(steady) > 40
    assert 13 * MINUTE <= min(steady) <= max(steady) <= 17 * MINUTE
    assert CALLBACK_LIFETIME - HOUR < tried[-1] < CALLBACK_LIFETIME
    assert [one.id for one in service.undelivered(merchant.id, AT)] == [row.id]


def test_taken_in_the_last_hour_is_delivered_once(merchant, shop, receiver, url, post):
    receiver.answer(500, 500, 200)
    paid(merchant, shop)
    (row,) = rows()
    for after in (timedelta(0), HOUR, CALLBACK_LIFETIME - HOUR, CALLBACK_LIFETIME + DAY):
        post(AT + after)
    assert row.status == "done"
    assert row.finished_at == AT + CALLBACK_LIFETIME - HOUR
    assert len(receiver.received) == 3


def test_a_wish_to_come_later_is_followed(merchant, shop, receiver, url, post):
    receiver.answer(429, Retry_After="3600")
    paid(merchant, shop)
    post(AT)
    (row,) = rows()
    assert row.due_at == AT + HOUR


@pytest.mark.parametrize(
    ("status", "outcome"), [(302, "redirected"), (404, "refused"), (401, "refused")]
)
def test_what_is_no_2xx_is_a_failure(merchant, shop, receiver, url, post, status, outcome):
    receiver.answer(status, Location="http://127.0.0.1:9/elsewhere")
    paid(merchant, shop)
    post(AT)
    (row,) = rows()
    assert (row.status, row.outcome, row.answer_status) == ("queued", outcome, status)
    assert len(receiver.received) == 1


def test_nobody_listens(merchant, shop, receiver, url, post):
    receiver.stop()
    paid(merchant, shop)
    post(AT)
    (row,) = rows()
    assert (row.status, row.outcome, row.answer_status) == ("queued", "unreachable", None)
    assert url.paused_until is not None


def test_an_address_that_came_to_lead_inside_is_not_called(merchant, shop, receiver, post, url):
    url.url = url.url.replace("127.0.0.1", "[::1]")  # which nobody has opened
    paid(merchant, shop)
    post(AT)
    (row,) = rows()
    assert (row.outcome, receiver.received) == ("private", [])


def test_a_worker_that_dies_leaves_it_to_the_next_one(merchant, shop, receiver, url, post):
    paid(merchant, shop)
    (row,) = Callback.claim(1, AT)
    assert post(AT + MINUTE) == []
    assert release(AT + LEASE + SECOND) == 1
    post(AT + LEASE + 2 * SECOND)
    assert row.status == "done"
    assert len(receiver.received) == 1


# --- the order of events ------------------------------------------------------------------------


def test_what_happened_to_an_order_is_told_in_its_order(merchant, shop, receiver, url, post):
    receiver.answer(500)
    order = paid(merchant, shop, "10.00")
    post(AT)
    paid(merchant, shop, "9.90", order=order, at=AT + SECOND)
    other = paid(merchant, shop, at=AT + SECOND)
    post(AT + 2 * SECOND)
    assert receiver.numbers == [(order.number, "partially_paid"), (other.number, "paid")]
    receiver.answer(200)
    receiver.received.clear()
    for minute in range(1, 10):
        post(AT + minute * MINUTE)
    of_order = [status for number, status in receiver.numbers if number == order.number]
    assert of_order == ["partially_paid", "paid"]


def test_while_an_address_fails_one_probe_goes_and_the_first_success_frees_all(
    merchant, shop, receiver, url, post
):
    receiver.answer(500)
    for _ in range(20):
        paid(merchant, shop)
    post(AT)
    assert 1 <= len(receiver.received) <= 4
    at = AT
    for _ in range(8):
        at = max(at + SECOND, url.paused_until)
        assert len(post(at)) <= 1
        assert post(at + SECOND) == []
    assert len(receiver.received) <= 12
    receiver.answer(200)
    while not post(at):
        at += MINUTE
    for _ in range(6):
        post(at)
    assert {row.status for row in rows()} == {"done"}
    assert (url.failing_since, url.failures, url.paused_until) == (None, 0, None)


def test_one_message_that_is_not_liked_holds_up_only_its_order(merchant, shop, receiver, url, post):
    unliked = paid(merchant, shop)
    receiver.answer(400, 200)
    post(AT)
    liked = paid(merchant, shop)
    assert len(post(AT + SECOND)) == 1
    assert receiver.numbers == [(unliked.number, "paid"), (liked.number, "paid")]
    assert url.failing_since is None


def test_an_address_that_hangs_holds_up_no_other(merchant, shop, allowed, receiver):
    """16 places, 4 of them for each address: the others are served while one hangs."""
    hanging = Receiver()
    hanging.answer(None)
    try:
        service.add_url(merchant.id, hanging.url, shop_id=None, actor="anna", at=now())
        service.add_url(merchant.id, receiver.url, shop_id=None, actor="anna", at=now())
        for _ in range(12):
            paid(merchant, shop, at=now())
        answered = receiver.take

        def take(received):
            if len(receiver.received) == 11:  # with this one it has them all
                hanging.released.set()
            return answered(received)

        receiver.take = take
        drain_callback()
        assert len(receiver.received) == 12
        assert len(hanging.received) >= 4
    finally:
        hanging.stop()


# --- 410 and off --------------------------------------------------------------------------------


def test_410_switches_the_address_off(merchant, shop, receiver, url, post):
    receiver.answer(410)
    paid(merchant, shop)
    waiting = paid(merchant, shop, at=AT + HOUR)
    ((_, trouble),) = post(AT)
    assert trouble is not None
    assert (trouble.merchant_id, trouble.because) == (merchant.id, "gone")
    assert service.state_of(url) == "gone"
    assert [row.status for row in rows()] == ["failed", "withheld"]
    paid(merchant, shop, order=waiting, amount="0.10")
    assert len(rows()) == 2


def test_switched_off_hears_of_nothing_and_on_again_of_what_comes(
    merchant, shop, receiver, url, post
):
    paid(merchant, shop)
    service.switch_off(url, "person", AT)
    paid(merchant, shop)
    post(AT)
    assert ([row.status for row in rows()], receiver.received) == (["withheld"], [])
    service.switch_on(url)
    heard = paid(merchant, shop)
    post(AT)
    assert receiver.numbers == [(heard.number, "paid")]


def test_who_fails_long_is_told_once(merchant, shop, receiver, url, post):
    receiver.answer(500)
    paid(merchant, shop)
    at, told = AT, []
    while at < AT + DAY:
        told += [(at - AT, trouble) for _, trouble in post(at) if trouble]
        at = when_next(rows()[0], url)
    ((after, trouble),) = told
    assert service.TELL_AFTER <= after <= service.TELL_AFTER + HOUR
    assert (trouble.because, trouble.url, trouble.since) == ("failing", url.url, AT)
    receiver.answer(200)
    while not post(at):
        at += MINUTE
    assert service.state_of(url) == "working"
    assert url.told_at is None


# --- by hand ------------------------------------------------------------------------------------


def test_a_test_is_signed_and_tried_once(url, receiver, secret, post):
    receiver.answer(500, words=b"no route")
    first = service.send_test(url, actor="anna", at=AT)
    assert service.send_test(url, actor="anna", at=AT) is first
    post(AT)
    assert (first.status, first.answer_status, first.answer) == ("failed", 500, "no route")
    assert service.state_of(url) == "new"
    receiver.answer(200)
    service.send_test(url, actor="anna", at=AT)
    post(AT)
    told = receiver.received[-1]
    assert told.is_signed_with(secret)
    assert told.message == {
        "type": "callback.test",
        "timestamp": told.message["timestamp"],
        "data": {"url": url.url},
    }
    assert service.state_of(url) == "working"


def test_what_ended_is_sent_again_under_the_same_id(merchant, shop, receiver, url, post):
    receiver.answer(500)
    paid(merchant, shop)
    (row,) = rows()
    post(AT)
    post(AT + CALLBACK_LIFETIME)
    assert row.status == "failed"
    receiver.answer(200)
    later = AT + CALLBACK_LIFETIME + DAY
    assert service.send_again(row, actor="anna", at=later)
    db.session.commit()
    post(later)
    assert (row.status, row.queued_by) == ("done", "anna")
    assert {one.id for one in receiver.received} == {row.message_id}


def test_by_hand_it_waits_for_no_pause(merchant, shop, receiver, url, post):
    receiver.stop()
    paid(merchant, shop)
    post(AT)
    (row,) = rows()
    assert url.paused_until > AT + SECOND
    assert service.send_again(row, actor="anna", at=AT + SECOND)
    db.session.commit()
    assert len(post(AT + SECOND)) == 1


def test_on_its_way_it_is_not_sent_again(merchant, shop, url):
    paid(merchant, shop)
    (row,) = Callback.claim(1, AT)
    assert not service.send_again(row, actor="anna", at=AT)


# --- addresses ----------------------------------------------------------------------------------


def test_an_address_is_added_once_and_not_without_end(merchant, shop, allowed):
    def add(number: int, shop_id: int | None = None) -> None:
        service.add_url(
            merchant.id, f"https://a{number}.example/", shop_id=shop_id, actor="anna", at=AT
        )

    add(0)
    add(0, shop.id)  # of that shop alone it is another
    with pytest.raises(service.CallbackError, match="already_there"):
        add(0)
    for number in range(1, service.MAX_URLS - 1):
        add(number)
    with pytest.raises(service.CallbackError, match="too_many"):
        add(99)


@pytest.mark.parametrize(
    "typed", ["http://shop.example/", "https://127.0.0.1/", "https://10.0.0.1/", "javascript:x"]
)
def test_what_may_not_be_called_is_not_added(merchant, typed):
    with pytest.raises(AddressRefused):
        service.add_url(merchant.id, typed, shop_id=None, actor="anna", at=AT)


def test_removed_while_on_its_way(merchant, shop, url, allowed, receiver):
    paid(merchant, shop)
    (row,) = Callback.claim(1, AT)
    service.remove(url)
    db.session.commit()
    db.session.expunge_all()
    assert service.settle(row.id, service.Attempt("delivered", 200), AT) is None
    assert rows() == []


def test_removed_before_it_leaves(merchant, shop, url, allowed):
    """It must not end the drain: others were taken with it."""
    paid(merchant, shop)
    (row,) = Callback.claim(1, AT)
    service.remove(url)
    db.session.commit()
    db.session.expunge_all()
    assert service.parcel_of(row, AT) is None
    assert rows() == []


# --- in the house -------------------------------------------------------------------------------


def test_the_clock_rings_for_it_and_the_drain_sends_it(app, merchant, shop, receiver, url, secret):
    paid(merchant, shop, at=now())
    assert "callback" in due_kinds(now())
    drain("callback")
    assert receiver.received[0].is_signed_with(secret)
    assert "callback" not in due_kinds(now())


def test_it_is_not_rung_for_what_waits_for_a_pause(merchant, shop, receiver, url, post):
    receiver.stop()
    paid(merchant, shop)
    paid(merchant, shop)
    post(AT)
    assert url.paused_until is not None
    assert not KINDS["callback"].is_due(url.paused_until - SECOND)
    assert KINDS["callback"].is_due(url.paused_until + MINUTE)


def test_the_log_is_kept_for_thirty_days(merchant, shop, receiver, url, post):
    paid(merchant, shop)
    post(AT)
    post(AT + KEPT)
    assert len(rows()) == 1
    assert KINDS["callback"].is_due(AT + KEPT + SECOND)
    post(AT + KEPT + SECOND)
    assert rows() == []


def test_marking_as_paid_is_a_change_too(merchant, shop, receiver, url, post):
    order = make_order(shop)
    mark_as_paid(merchant.id, order.id, actor="anna", at=AT)
    db.session.commit()
    post(AT)
    assert receiver.numbers == [(order.number, "paid")]


def test_what_is_told_is_kept_as_it_was_sent(merchant, shop, receiver, url, post):
    order = paid(merchant, shop)
    paid(merchant, shop, "1.00", order=order)
    post(AT)
    (row,) = rows()
    assert row.body.encode() == receiver.received[0].raw
    assert json.loads(row.body)["data"]["paid_total"] == "19.90"


def test_of_a_stranger_nothing_is_found(merchant, shop, url):
    paid(merchant, shop)
    stranger = make_merchant("Bobs Basar")
    (row,) = rows()
    assert service.url_of(stranger.id, url.id) is None
    assert service.callback_of(stranger.id, row.id) is None
    assert service.urls_of(stranger.id) == []
    assert isinstance(service.url_of(merchant.id, url.id), CallbackUrl)
