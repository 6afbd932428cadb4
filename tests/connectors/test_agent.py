"""The agent between a shop and Kontor: nothing is lost, nothing is done twice."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from plugin_sdk.errors import Misconfigured
from plugin_sdk.schemas import OrderSchema
from plugin_sdk.testing.fake_woocommerce import CONSUMER_KEY, CONSUMER_SECRET, WEBHOOK_SECRET
from plugin_sdk.types import WIRE_VERSION, Outcome, PaymentCode
from tests.connectors.stand_in import KEY, until

TOPICS = ("order.created", "order.updated", "order.deleted", "order.restored")


def subscribe(shop, agent):
    host, port = agent.address
    for topic in TOPICS:
        shop.add_webhook(topic, f"http://{host}:{port}/hook")


def send(agent, headers, body):
    connection = http.client.HTTPConnection(*agent.address, timeout=10)
    connection.request("POST", "/hook", body, headers)
    status = connection.getresponse().status
    connection.close()
    return status


def update_for(key, **more):
    return {
        "id": f"pu-{key}",
        "external_id": key,
        "number": key,
        "payment_status": "paid",
        "paid_total": "39.90",
        "currency": "EUR",
        "intent": "paid",
        "created_at": datetime.now(UTC).isoformat(),
        **more,
    }


@pytest.mark.feature("S28", "S32")
def test_the_first_comparison_brings_what_is_there(shop, kontor, begin):
    made = {shop.add_order() for _ in range(3)}
    begin()
    until(lambda: set(kontor.orders) == made, "the first comparison")
    assert kontor.wire_versions == {str(WIRE_VERSION)}


def test_the_server_hears_of_the_defaults_before_the_first_order(shop, kontor, begin):
    shop.add_order()
    kontor.deaf = True
    begin()
    until(lambda: kontor.order_of_calls.count("POST heartbeat") > 2, "some tries")
    assert kontor.orders == {}
    kontor.deaf = False
    until(lambda: kontor.orders, "a push")
    assert kontor.heartbeats[0].connector == "woocommerce"
    assert kontor.heartbeats[0].defaults[PaymentCode.PREPAYMENT].paid_status == "processing"


@pytest.mark.feature("S31")
def test_a_new_order_is_pushed_at_once_and_once(shop, kontor, begin):
    agent = begin()
    subscribe(shop, agent)
    until(lambda: "compared all orders" in begin.lines, "the first comparison")
    shop.sender.hold()
    key = shop.add_order()
    shop.sender.release(reverse=True, times=3)
    until(lambda: key in kontor.orders, "the push")
    shop.sender.settle()
    second = shop.add_order()
    until(lambda: second in kontor.orders, "the next push")
    assert kontor.pushes == [key, second]


def test_what_a_webhook_says_is_not_believed(shop, kontor, begin):
    agent = begin()
    key = shop.add_order()
    headers, body = shop.delivery("order.updated", key)
    shop.set_status(key, "completed")
    assert send(agent, headers, body) == 200
    until(lambda: key in kontor.orders, "the push")
    assert kontor.orders[key].shop_status == "completed"


def test_forgeries_are_refused_and_pings_are_not(shop, kontor, begin):
    agent = begin()
    key = shop.add_order()
    headers, body = shop.delivery("order.updated", key)
    assert send(agent, headers, body + b" ") == 401
    assert send(agent, {}, body) == 401
    assert send(agent, {}, b"webhook_id=1") == 200
    assert send(agent, {"Content-Length": "99999999999"}, b"") == 413


@pytest.mark.feature("S41")
def test_a_trashed_order_is_reported_with_its_evidence(shop, kontor, begin):
    agent = begin()
    subscribe(shop, agent)
    key = shop.add_order()
    until(lambda: key in kontor.orders, "the push")
    shop.trash(key)
    until(lambda: kontor.gone, "the report")
    assert kontor.gone[0] == {"external_ids": [key], "evidence": "trashed"}
    shop.restore(key)
    until(lambda: key in kontor.orders, "the return")


@pytest.mark.feature("S41")
def test_a_deletion_that_nobody_tells_is_found_by_asking(shop, kontor, begin):
    kept, deleted = shop.add_order(), shop.add_order()
    agent = begin()
    until(lambda: len(kontor.orders) == 2, "the first comparison")
    shop.delete(deleted)
    agent.compare_all()
    until(lambda: kontor.gone, "the report")
    assert kontor.gone[0] == {"external_ids": [deleted], "evidence": "gone"}
    assert set(kontor.orders) == {kept}


@pytest.mark.feature("S41")
def test_what_has_vanished_is_asked_for_twice(shop, kontor, begin):
    agent = begin(confirm_seconds=0.2)
    subscribe(shop, agent)
    key = shop.add_order()
    until(lambda: key in kontor.orders, "the push")
    shop.trash(key)
    until(lambda: len(kontor.gone) == 2, "the second report")
    assert kontor.gone == [{"external_ids": [key], "evidence": "trashed"}] * 2


def test_absence_is_no_evidence_while_the_shop_is_in_trouble(shop, kontor, begin):
    key = shop.add_order()
    agent = begin()
    until(lambda: "compared all orders" in begin.lines, "the first comparison")
    shop.fail("html", times=3)
    agent.compare_all()
    until(lambda: begin.lines.count("compared all orders") == 2, "the second comparison")
    assert kontor.gone == []
    assert key in kontor.orders


@pytest.mark.feature("S31")
def test_orders_made_while_the_server_is_away_are_caught_up(shop, kontor, begin):
    agent = begin()
    subscribe(shop, agent)
    until(lambda: "compared all orders" in begin.lines, "the first comparison")
    kontor.down = True
    key = shop.add_order()
    shop.sender.settle()
    agent.stop()  # the machine restarts meanwhile
    shop.set_status(key, "processing")
    kontor.down = False
    begin(compare_seconds=3600)
    until(lambda: key in kontor.orders, "catching up")
    assert kontor.orders[key].shop_status == "processing"


def test_the_next_start_goes_on_where_the_last_one_stood(shop, kontor, begin):
    shop.add_order()
    agent = begin()
    until(lambda: "compared all orders" in begin.lines, "the first comparison")
    agent.stop()
    new = shop.add_order()
    kontor.pushes.clear()
    begin()
    until(lambda: new in kontor.orders, "the push")
    assert kontor.pushes == [new]


@pytest.mark.feature("S26", "S42")
def test_a_payment_reaches_the_shop(shop, kontor, begin):
    key = shop.add_order()
    kontor.updates.append(update_for(key))
    begin()
    until(lambda: kontor.acknowledged, "the acknowledgement")
    name, acknowledgement = kontor.acknowledged[0]
    assert (name, acknowledgement.outcome) == (f"pu-{key}", Outcome.APPLIED)
    assert shop.status_of(key) == "processing"


@pytest.mark.feature("S42")
def test_a_lost_acknowledgement_repeats_and_writes_nothing(shop, kontor, begin):
    key = shop.add_order()
    agent = begin()
    until(lambda: key in kontor.orders, "the push")
    kontor.updates.append(update_for(key))
    until(lambda: kontor.acknowledged, "the acknowledgement")
    kontor.updates.append(update_for(key))  # its lease ran out, so it comes again
    until(lambda: len(kontor.acknowledged) > 1, "the second acknowledgement")
    assert kontor.acknowledged[-1][1].outcome is Outcome.ALREADY_THERE
    assert len(shop.writes) == 1
    assert agent.running


def test_what_a_person_must_mend_is_in_the_heartbeat_until_it_is_mended(shop, kontor, begin):
    agent = begin()
    until(lambda: "compared all orders" in begin.lines, "the first comparison")
    right = shop.login.keys.pop(CONSUMER_KEY)
    agent.compare_all()
    until(lambda: kontor.heartbeats[-1].last_error, "the error")
    assert "consumer key is wrong" in kontor.heartbeats[-1].last_error
    shop.login.keys[CONSUMER_KEY] = right
    until(lambda: kontor.heartbeats[-1].last_error is None, "the end of the error")


def test_what_passes_by_itself_is_not(shop, kontor, begin):
    agent = begin()
    until(lambda: "compared all orders" in begin.lines, "the first comparison")
    shop.fail("500", times=2)
    agent.compare_all()
    until(lambda: any("answered 500" in line for line in begin.lines), "the trouble")
    until(lambda: begin.lines.count("compared all orders") == 2, "the end of it")
    assert [each.last_error for each in kontor.heartbeats if each.last_error] == []


def test_an_order_that_the_server_refuses_holds_up_no_other(shop, kontor, begin):
    bad, good = shop.add_order(), shop.add_order()
    kontor.refuse.add(bad)
    begin()
    until(lambda: good in kontor.orders, "the push")
    until(lambda: any("not today" in line for line in begin.lines), "the report")
    assert bad not in kontor.orders


def test_an_order_that_cannot_be_read_holds_up_no_other(shop, kontor, begin):
    agent = begin()
    bad, good = shop.add_order(), shop.add_order()
    shop.orders[int(bad)]["currency"] = "bananas"
    for key in (bad, good):
        assert send(agent, *shop.delivery("order.updated", key)) == 200
    until(lambda: good in kontor.orders, "the push")
    until(lambda: any("no currency" in line for line in begin.lines), "the report")


def test_one_agent_a_directory(begin):
    begin()
    with pytest.raises(Misconfigured, match="Another agent"):
        begin()


def test_what_is_reported_names_no_person(shop, kontor, begin):
    key = shop.add_order()
    kontor.updates.append(update_for(key))
    agent = begin()
    subscribe(shop, agent)
    until(lambda: kontor.acknowledged, "the acknowledgement")
    text = "\n".join(begin.lines)
    assert "Mustermann" not in text
    assert "@" not in text
    assert CONSUMER_SECRET not in text


@pytest.fixture
def environment(shop, kontor, tmp_path):
    return {
        **os.environ,
        "KONTOR_URL": kontor.url,
        "KONTOR_API_KEY": KEY,
        "KONTOR_CONNECTOR": "woocommerce",
        "KONTOR_STATE": str(tmp_path / "state"),
        "KONTOR_SHOP_URL": shop.url,
        "KONTOR_CONSUMER_KEY": CONSUMER_KEY,
        "KONTOR_CONSUMER_SECRET": CONSUMER_SECRET,
        "KONTOR_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }


def kontor_command(environment, *words):
    command = [sys.executable, "-m", "plugin_sdk.cli", *words]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def process(environment):
    """`kontor run` as a process of its own."""
    command = [sys.executable, "-m", "plugin_sdk.cli", "run", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as started:
        yield started
        if started.poll() is None:
            started.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_runs_and_stops_when_told(shop, kontor, process, number):
    assert process.stdout.readline().startswith("listening http://127.0.0.1:")
    key = shop.add_order()
    until(lambda: key in kontor.orders, "the push")
    process.send_signal(number)  # while it waits for payment updates
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert out.rstrip().endswith("stopped")


def test_a_kill_in_the_middle_loses_nothing(shop, kontor, process, begin):
    line = process.stdout.readline()
    port = int(line.rstrip("/\n").rpartition(":")[2])
    until(lambda: kontor.heartbeats, "the start")
    kontor.down = True
    shop.add_webhook("order.updated", f"http://127.0.0.1:{port}/hook")
    shop.sender.settle()
    key = shop.add_order()
    shop.sender.settle()
    process.kill()
    process.wait(20)
    kontor.down = False
    begin(compare_seconds=3600)
    until(lambda: key in kontor.orders, "catching up")


def test_the_command_checks_both_sides(shop, kontor, environment):
    fine = kontor_command(environment, "check")
    assert (fine.returncode, fine.stderr) == (0, "")
    assert "Kontor accepts the API key." in fine.stdout
    for name in ("KONTOR_CONSUMER_SECRET", "KONTOR_API_KEY"):
        wrong = kontor_command({**environment, name: "wrong-and-secret"}, "check")
        assert wrong.returncode == 1
        assert "problem" in wrong.stdout
        assert "wrong-and-secret" not in wrong.stdout + wrong.stderr


def test_the_command_pulls_and_pushes_by_hand(shop, environment):
    key = shop.add_order()
    pulled = kontor_command(environment, "pull")
    assert OrderSchema().loads(pulled.stdout).external_id == key
    assert kontor_command(environment, "pull", key).stdout == pulled.stdout
    gone = kontor_command(environment, "pull", "99")
    assert (gone.returncode, gone.stderr) == (1, "99: gone\n")
    planned = kontor_command(environment, "push", key, "--dry-run")
    assert planned.stdout == f"would change order {key} from on-hold to processing\n"
    assert shop.status_of(key) == "on-hold"
    assert kontor_command(environment, "push", key).stdout == "applied (processing)\n"
    assert kontor_command(environment, "push", key).stdout == "already_there (processing)\n"
    shop.set_status(key, "completed")
    assert kontor_command(environment, "push", key).returncode == 1


@pytest.mark.feature("S33")
def test_without_webhooks_the_shop_is_asked_more_often_and_this_is_said(environment):
    command = [sys.executable, "-m", "plugin_sdk.cli", "run"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as started:
        assert "every 3 minutes" in started.stdout.readline()
        started.terminate()
        assert started.wait(20) == 0
