"""What a shop may answer, and what becomes of it."""

from __future__ import annotations

import json
import logging
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from plugin_sdk import http
from plugin_sdk.errors import Misconfigured, Rejected, Temporary
from plugin_sdk.http import ErrorRule, HttpSession


class Canned:
    """A server that gives one answer, and keeps what it was asked."""

    def __init__(self):
        self.status, self.headers, self.body = 200, {}, b"{}"
        self.asked = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Visit)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.server.canned = self
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/path?secret=s3cret"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def says(self, status, body, **headers):
        self.status, self.body = status, body.encode() if isinstance(body, str) else body
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class _Visit(BaseHTTPRequestHandler):
    def do_GET(self):
        canned = self.server.canned
        canned.asked.append(dict(self.headers.items()))
        self.send_response_only(canned.status)
        for name, value in canned.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(canned.body)

    def log_message(self, *_):
        pass


@pytest.fixture
def canned():
    made = Canned()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def session():
    made = HttpSession("the shop", user_agent="test", secrets=("s3cret",))
    yield made
    made.close()


@pytest.mark.parametrize(
    "body",
    [
        '{"a": 1}',
        '\ufeff{"a": 1}',
        '  \n{"a": 1}\n',
        '<br />\n<b>Notice</b>: Undefined index: [x] in <b>{y}.php</b><br />\n{"a": 1}',
        'Warning: array [1, 2] {"b": 2}\n{"a": 1}',
    ],
)
def test_json_is_found(canned, session, body):
    canned.says(200, body)
    assert session.request("GET", canned.url).body == {"a": 1}


@pytest.mark.parametrize(
    "body",
    ['{"a": 1', '[{"id":1},{"id":', "<html>{}</html>", "gone fishing", "[" * 100_000, '{"a":1} x'],
)
def test_what_is_no_json_may_be_some_later(canned, session, body):
    canned.says(200, body)
    with pytest.raises(Temporary):
        session.request("GET", canned.url)


def test_no_content_is_none(canned, session):
    canned.says(204, "")
    assert session.request("GET", canned.url).body is None


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, Misconfigured),
        (304, Misconfigured),
        (400, Rejected),
        (401, Misconfigured),
        (403, Misconfigured),
        (404, Rejected),
        (408, Temporary),
        (422, Rejected),
        (429, Temporary),
        (500, Temporary),
        (503, Temporary),
        (520, Temporary),
    ],
)
def test_statuses_are_named_by_what_happens_next(canned, session, status, error):
    canned.says(status, "<html>Sorry</html>")
    with pytest.raises(error):
        session.request("GET", canned.url)


def test_a_rule_of_the_connector_comes_first(canned):
    rule = ErrorRule(Rejected, "Not for you", status=500, code="too_much", words="money")
    session = HttpSession("the shop", user_agent="test", rules=(rule,))
    canned.says(500, '{"code": "too_much", "message": "too much money"}')
    with pytest.raises(Rejected, match="Not for you"):
        session.request("GET", canned.url)
    for body in (
        '{"code": "too_much", "message": "no"}',
        '{"code": "x", "message": "money"}',
        "[]",
    ):
        canned.says(500, body)
        with pytest.raises(Temporary):
            session.request("GET", canned.url)
    session.close()


@pytest.mark.parametrize(
    ("wish", "seconds"),
    [("7", 7), ("0", 0), ("99999999999999", 86_400), ("soon", None), ("-5", None), ("²", None)],
)
def test_retry_after_in_seconds(canned, session, wish, seconds):
    canned.says(429, "{}", Retry_After=wish.encode().decode("latin-1"))
    with pytest.raises(Temporary) as caught:
        session.request("GET", canned.url)
    assert caught.value.retry_after_seconds == seconds


def test_retry_after_as_a_date(canned, session):
    when = datetime.now(UTC) + timedelta(hours=1)
    canned.says(503, "", Retry_After=format_datetime(when, usegmt=True))
    with pytest.raises(Temporary) as caught:
        session.request("GET", canned.url)
    assert 3500 < caught.value.retry_after_seconds <= 3600


def test_a_redirect_is_named_without_what_it_carries(canned, session):
    canned.says(302, "", Location="https://user:s3cret@new.example.org/wp?token=s3cret")
    with pytest.raises(Misconfigured) as caught:
        session.request("GET", canned.url)
    assert "https://new.example.org/wp" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_secrets_are_cut_out_of_what_is_quoted(canned, session):
    canned.says(400, json.dumps({"message": "bad key s3cret"}))
    with pytest.raises(Rejected) as caught:
        session.request("GET", canned.url)
    assert "bad key" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_quotes_are_short(canned, session):
    canned.says(400, json.dumps({"message": "x" * 10_000}))
    with pytest.raises(Rejected) as caught:
        session.request("GET", canned.url)
    assert len(str(caught.value)) < 300


def test_large_answers_are_not_read_to_the_end(canned, session, monkeypatch):
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 1000)
    canned.says(200, json.dumps("x" * 2000))
    with pytest.raises(Rejected, match="more than"):
        session.request("GET", canned.url)


def test_slow_answers_end_at_the_deadline(canned, session, monkeypatch):
    monkeypatch.setattr(http, "DEADLINE_SECONDS", -1.0)
    canned.says(200, "{}")
    with pytest.raises(Temporary, match="too slowly"):
        session.request("GET", canned.url)


def test_a_password_in_netrc_is_not_sent(canned, session, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    session.request("GET", canned.url)
    assert "Authorization" not in canned.asked[0]


def test_debug_logs_hold_no_query(canned, session, caplog):
    with caplog.at_level(logging.DEBUG):
        session.request("GET", canned.url)
    assert "/path" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("url", ["http://", "nonsense", "ftp://127.0.0.1/", "http://[::1"])
def test_addresses_that_are_none(session, url):
    with pytest.raises(Misconfigured):
        session.request("GET", url)


def test_nobody_there_is_temporary_and_keeps_the_query_to_itself(session):
    with pytest.raises(Temporary) as caught:
        session.request("GET", "http://127.0.0.1:1/path?secret=s3cret")
    assert "127.0.0.1:1" in str(caught.value)
    assert "s3cret" not in f"{caught.value!r}{caught.value.__cause__!r}"
    assert caught.value.__suppress_context__
