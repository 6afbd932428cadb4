"""The supervisor: one a directory, restarts what ends, stops all of it and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import urllib.error
import urllib.request

import pytest

from server.children import started_at
from tests.factories import bearer, wire_order
from tests.flows.installation import Installation, eventually, is_gone

PROGRAMS = {
    "postgres", "redis", "catcher", "web", "clock", "worker-mail", "worker-statement",
    "worker-match_request", "worker-payment_update",
    "worker-bank_connection",
    "worker-dunning_run", "worker-sending_domain", "worker-shop_connection", "worker-callback",
    "worker-partner", "worker-relay_delivery", "relay",
    "shop", "agent",
}  # fmt: skip


@pytest.fixture(scope="module")
def installation():
    """With the demo shop, as `make run` starts it."""
    installation = Installation()
    yield installation.start()
    installation.remove()


def test_all_programs_run(installation):
    assert set(installation.ready["processes"]) == PROGRAMS
    assert set(installation.pids()) == PROGRAMS


def test_a_second_start_says_who_is_there(installation):
    second = subprocess.run(
        **installation.command(), capture_output=True, text=True, timeout=60, check=False
    )
    assert second.returncode == 1
    assert f"already running, pid {installation.process.pid}" in second.stderr
    assert set(installation.pids()) == PROGRAMS
    key = bearer(installation.ready["shop_key"])
    assert "orders" in installation.api("GET", "orders", key)


def test_the_link_that_merchant_add_prints_sets_a_password_once(installation):
    """Beside a running installation no settings are needed but where it lives."""
    command = installation.command()
    add = [*command.pop("args")[:3], "merchant", "add", "Annas Antiquariat", "neu@example.org"]
    done = subprocess.run(add, **command, capture_output=True, text=True, timeout=60, check=True)
    link = done.stdout.split()[-1]
    assert link.startswith(f"{installation.ready['url']}/")
    with urllib.request.urlopen(link, timeout=30) as page:
        assert "neu@example.org" in page.read().decode()
    again = subprocess.run(add, **command, capture_output=True, text=True, timeout=60, check=False)
    assert (again.returncode, "exists" in again.stderr) == (1, True)


@pytest.mark.parametrize("name", ["worker-mail", "clock", "web", "redis", "postgres"])
def test_what_was_killed_is_started_again(installation, name):
    before = installation.pids()
    installation.kill(name)
    after = eventually(
        lambda: (pids := installation.pids()).get(name) not in (None, before[name]) and pids,
        f"{name} again",
    )
    assert after[name] != before[name]
    key = bearer(installation.ready["shop_key"])

    def works():
        try:
            return installation.api("POST", "orders", key, wire_order())["outcome"]
        except (urllib.error.URLError, OSError):  # for a moment, while it starts
            return None

    assert eventually(works, "an order after it")


def push_without_end(installation, key):
    """Work in flight: 200 orders with their mails and match requests."""
    for _ in range(2):
        orders = [wire_order() for _ in range(100)]
        results = installation.api("POST", "orders/batch", key, {"orders": orders})["results"]
        assert len(results) == 100


def test_stopping_with_work_in_flight_ends_everything_and_a_second_start_keeps_it(installation):
    key = bearer(installation.ready["shop_key"])
    order = wire_order()
    installation.api("POST", "orders", key, order)
    password = installation.ready["password"]
    push_without_end(installation, key)
    ours = {pid: started_at(pid) for pid in installation.pids().values()}
    assert installation.interrupt() < 10
    assert [pid for pid, start in ours.items() if not is_gone(pid, start)] == []
    assert installation.left() == []
    assert not (installation.var / "runtime.env").exists()

    installation.start()
    assert installation.ready["password"] == password
    assert set(installation.pids()) == PROGRAMS
    kept = installation.api("GET", f"orders/{order['external_id']}", key)
    assert kept["number"] == order["number"]


def test_a_killed_supervisor_leaves_nothing_running(installation):
    """And the next start is not kept from its work by what the killed one left lying about."""
    key = bearer(installation.ready["shop_key"])
    push_without_end(installation, key)
    assert len(installation.left()) > len(PROGRAMS)
    installation.kill_supervisor()
    eventually(lambda: not installation.left(), "the end of everything", 15)

    installation.start()
    assert "orders" in installation.api("GET", "orders", key)


def test_terminate_is_as_good_as_interrupt(installation):
    os.kill(installation.process.pid, signal.SIGTERM)
    assert installation.process.wait(15) == 0
    assert installation.left() == []
