"""The mail catcher of ``make run``: takes every mail, sends none, shows them in a browser.

    python -m server.catcher --smtp 1025 --http 8025 --directory var/mails

An SMTP server and a web server in one process, on 127.0.0.1 only and for development only: it
asks nobody for a password. Each mail is a file in the directory, as it came, behind two lines
with its envelope. Port 0 takes any free one; the only line on stdout names both.

    GET    /api/messages         newest first
    GET    /api/messages/{id}    with text, html and the names of inline images
    DELETE /api/messages
"""

from __future__ import annotations

import argparse
import asyncio
import email
import logging
import re
import signal
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from email.message import EmailMessage, Message
from email.policy import default
from itertools import count
from pathlib import Path
from time import time_ns
from typing import Any
from urllib.parse import urlsplit

from aiosmtpd.smtp import SMTP, Envelope, Session
from flask import Flask, Response, abort, jsonify, redirect, render_template, request
from jinja2 import DictLoader
from markupsafe import Markup, escape
from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.wrappers import Response as WerkzeugResponse

HOST = "127.0.0.1"
MAX_MESSAGE_BYTES = 40 * 1024 * 1024
MAX_MESSAGES = 10_000
MESSAGES_A_PAGE = 100
_ID = re.compile(r"[0-9]{20}-[0-9]{6}")
_HEADER_END = re.compile(rb"\r?\n\r?\n")


# --- keeping ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Summary:
    """One line of the inbox; ``to`` is the header, so Bcc is only in the envelope."""

    id: str
    sender: str
    to: str
    subject: str
    date: str
    message_id: str

    def as_json(self) -> dict[str, str]:
        fields = asdict(self)
        return {"id": fields.pop("id"), "from": fields.pop("sender"), **fields}


class Mailbox:
    """The mails of one directory, for several threads. The oldest make room for the newest."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        for left in directory.glob("*.part"):
            left.unlink()
        found = sorted(path.stem for path in directory.glob("*.eml") if _ID.fullmatch(path.stem))
        self._lock = threading.Lock()
        self._summaries: OrderedDict[str, Summary | None] = OrderedDict.fromkeys(found)
        self._number = count()

    def keep(self, sender: str, recipients: list[str], content: bytes) -> str:
        """Written beside and renamed, so that no reader ever sees half a mail. Returns its id."""
        with self._lock:
            name = f"{time_ns():020}-{next(self._number) % 1_000_000:06}"
        envelope = f"Return-Path: <{sender}>\r\nDelivered-To: {', '.join(recipients)}\r\n"
        part = self.directory / f"{name}.part"
        part.write_bytes(envelope.encode("utf-8", "replace") + content)
        part.rename(self._path(name))
        with self._lock:
            self._summaries[name] = None
            gone = [
                self._summaries.popitem(last=False)[0]
                for _ in range(len(self._summaries) - MAX_MESSAGES)
            ]
        for old in gone:
            self._path(old).unlink(missing_ok=True)
        return name

    def ids(self) -> list[str]:
        """Newest first."""
        with self._lock:
            return list(reversed(self._summaries))

    def summaries(self, ids: list[str]) -> Iterator[Summary]:
        """Headers are read when first asked for: taking mail must stay fast."""
        for name in ids:
            with self._lock:
                known = self._summaries.get(name)
            summary = known or self._summary(name)
            if summary is None:
                continue
            with self._lock:
                if name in self._summaries:
                    self._summaries[name] = summary
            yield summary

    def raw(self, name: str) -> bytes | None:
        if not _ID.fullmatch(name):
            return None
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None

    def clear(self) -> int:
        with self._lock:
            gone = list(self._summaries)
            self._summaries.clear()
        for name in gone:
            self._path(name).unlink(missing_ok=True)
        return len(gone)

    def _summary(self, name: str) -> Summary | None:
        raw = self.raw(name)
        # The header alone: parsing bodies would make a full inbox take half a minute.
        return summarise(name, parse(_HEADER_END.split(raw, 1)[0])) if raw is not None else None

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.eml"


def parse(raw: bytes) -> EmailMessage:
    return email.message_from_bytes(raw, policy=default)


def summarise(name: str, mail: EmailMessage) -> Summary:
    return Summary(
        id=name,
        sender=_field(mail, "From"),
        to=_field(mail, "To"),
        subject=_field(mail, "Subject"),
        date=_field(mail, "Date"),
        message_id=_field(mail, "Message-ID"),
    )


def detail(name: str, mail: EmailMessage) -> dict[str, Any]:
    """The JSON of one mail; a part that is missing is an empty string."""
    images = [image.filename for image in inline_images(mail)]
    bodies = {"text": body(mail, "plain"), "html": body(mail, "html")}
    return {**summarise(name, mail).as_json(), **bodies, "inline": images}


def body(mail: EmailMessage, subtype: str) -> str:
    part = mail.get_body(preferencelist=(subtype,))
    if part is None:
        return ""
    return _content(part).decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Image:
    content_id: str
    filename: str
    content_type: str
    content: bytes


def inline_images(mail: EmailMessage) -> list[Image]:
    """The images with a Content-ID, in the order of the mail. SVG is none: it may hold scripts."""
    return [
        Image(
            content_id=_field(part, "Content-ID").strip("<> "),
            filename=part.get_filename() or "",
            content_type=part.get_content_type(),
            content=_content(part),
        )
        for part in mail.walk()
        if part.get_content_type() in {"image/png", "image/jpeg", "image/gif", "image/webp"}
        and part["Content-ID"]
    ]


def _content(part: Message) -> bytes:
    raw = part.get_payload(decode=True)
    return raw if isinstance(raw, bytes) else b""


def _field(mail: Message, name: str) -> str:
    """A header as text, whatever it is: a mail that cannot be read must still be listed."""
    try:
        return " ".join(str(mail.get(name, "")).split())
    except Exception:  # the email package raises many kinds on hostile headers
        return "(unreadable)"


# --- SMTP -------------------------------------------------------------------------------------


class Receiver:
    """aiosmtpd's hooks. Every mail is accepted."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes), "decode_data is off"
        name = self.mailbox.keep(envelope.mail_from or "", envelope.rcpt_tos, content)
        return f"250 2.0.0 Ok: kept as {name}"


# --- web --------------------------------------------------------------------------------------

# Our own pages load nothing but their style. A mail's HTML may also show its inline images; it
# runs no script, belongs to no origin, and its links open outside.
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; frame-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
SANDBOX = "allow-popups allow-popups-to-escape-sandbox"
MAIL_POLICY = (
    f"sandbox {SANDBOX}; default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)
_LINK = re.compile(r"https?://[^\s<>\"]+[^\s<>\".,;:!?)]")


def create_web(mailbox: Mailbox) -> Flask:
    """The inbox. Answers only to loopback names, so that no foreign page can rebind to it."""
    web = Flask("kontor-catcher", static_folder=None)
    web.jinja_loader = DictLoader(PAGES)
    web.add_template_filter(_linked, "linked")
    _add_pages(web, mailbox)
    _add_parts(web, mailbox)
    _add_api(web, mailbox)

    @web.before_request
    def only_from_here() -> None:
        if urlsplit(f"//{request.host}").hostname not in {"127.0.0.1", "localhost", "::1"}:
            abort(403)
        if request.method not in {"GET", "HEAD"} and request.headers.get("Origin") not in {
            None,
            request.host_url.rstrip("/"),
        }:
            abort(403)

    @web.after_request
    def guard(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", PAGE_POLICY)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-store"
        return response

    return web


def _add_pages(web: Flask, mailbox: Mailbox) -> None:
    @web.get("/")
    def inbox() -> str:
        ids = mailbox.ids()
        start = max(request.args.get("from", 0, int), 0)
        shown = list(mailbox.summaries(ids[start : start + MESSAGES_A_PAGE]))
        older = start + MESSAGES_A_PAGE
        return render_template(
            "inbox.html", mails=shown, count=len(ids), older=older if older < len(ids) else 0
        )

    @web.get("/messages/<name>")
    def message(name: str) -> str:
        mail = _found(mailbox, name)
        return render_template(
            "message.html",
            mail=summarise(name, mail),
            envelope=(_field(mail, "Return-Path"), _field(mail, "Delivered-To")),
            headers=_headers(mail),
            text=body(mail, "plain"),
            html=bool(body(mail, "html")),
            sandbox=SANDBOX,
        )

    @web.post("/clear")
    def clear() -> WerkzeugResponse:
        mailbox.clear()
        return redirect("/")

    @web.get("/style.css")
    def style() -> Response:
        return Response(STYLE, mimetype="text/css")


def _add_parts(web: Flask, mailbox: Mailbox) -> None:
    @web.get("/messages/<name>/html")
    def html(name: str) -> Response:
        mail = _found(mailbox, name)
        page = body(mail, "html")
        for number, image in enumerate(inline_images(mail)):
            page = page.replace(f"cid:{image.content_id}", f"/messages/{name}/inline/{number}")
        page = re.sub(r"(<head[^>]*>)", r'\1<base target="_blank">', page, count=1)
        return Response(
            page, mimetype="text/html", headers={"Content-Security-Policy": MAIL_POLICY}
        )

    @web.get("/messages/<name>/inline/<int:number>")
    def inline(name: str, number: int) -> Response:
        images = inline_images(_found(mailbox, name))
        if number >= len(images):
            abort(404)
        return Response(images[number].content, mimetype=images[number].content_type)

    @web.get("/messages/<name>/raw")
    def raw(name: str) -> Response:
        return Response(mailbox.raw(name) or abort(404), mimetype="text/plain")


def _add_api(web: Flask, mailbox: Mailbox) -> None:
    @web.get("/api/messages")
    def api_messages() -> Response:
        return jsonify([mail.as_json() for mail in mailbox.summaries(mailbox.ids())])

    @web.get("/api/messages/<name>")
    def api_message(name: str) -> Response:
        return jsonify(detail(name, _found(mailbox, name)))

    @web.delete("/api/messages")
    def api_clear() -> Response:
        return jsonify({"deleted": mailbox.clear()})


def _found(mailbox: Mailbox, name: str) -> EmailMessage:
    raw = mailbox.raw(name)
    return parse(raw) if raw is not None else abort(404)


def _headers(mail: EmailMessage) -> list[tuple[str, str]]:
    """As they came, but unfolded; bytes that are no ASCII are shown as question marks."""
    return [
        (name, " ".join(str(value).split()).encode("ascii", "replace").decode())
        for name, value in mail.raw_items()
    ]


def _linked(text: str) -> Markup:
    """Plain text with its web addresses as links; everything else is escaped."""
    parts, at = [], 0
    for link in _LINK.finditer(text):
        parts.append(escape(text[at : link.start()]))
        parts.append(
            Markup('<a href="{0}" target="_blank" rel="noreferrer">{0}</a>').format(link[0])
        )
        at = link.end()
    return Markup("").join([*parts, escape(text[at:])])


# Named .html because Flask escapes by that.
PAGES = {
    "page.html": """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{% block title %}Caught mail{% endblock %}</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<header><a href="/">Caught mail</a><small>Nothing here was sent to anybody.</small></header>
<main>{% block main %}{% endblock %}</main>
</body>
</html>
""",
    "inbox.html": """{% extends "page.html" %}
{% block main %}
<div class="bar"><h1>{{ count }} {{ "mail" if count == 1 else "mails" }}</h1>
<a class="button" href="/">Look again</a>
{% if count %}
<form method="post" action="/clear"><button>Delete all</button></form>
{% endif %}</div>
{% if mails %}
<ol class="mails">
{% for mail in mails %}
<li><a href="/messages/{{ mail.id }}"><strong>{{ mail.subject or "(no subject)" }}</strong>
<span>{{ mail.to }}</span><time>{{ mail.date }}</time></a></li>
{% endfor %}
</ol>
{% if older %}<p><a class="button" href="/?from={{ older }}">Older mails</a></p>{% endif %}
{% else %}
<p class="empty">No mail yet. Everything that Kontor sends on this machine arrives here.</p>
{% endif %}
{% endblock %}
""",
    "message.html": """{% extends "page.html" %}
{% block title %}{{ mail.subject }}{% endblock %}
{% block main %}
<p><a href="/">Back to all mails</a></p>
<h1>{{ mail.subject or "(no subject)" }}</h1>
<dl>
<dt>From</dt><dd>{{ mail.sender }}</dd>
<dt>To</dt><dd>{{ mail.to }}</dd>
<dt>Date</dt><dd>{{ mail.date }}</dd>
<dt>Envelope</dt><dd>{{ envelope[0] }} to {{ envelope[1] }}</dd>
</dl>
{% if html %}
<iframe title="The mail as HTML" sandbox="{{ sandbox }}"
  src="/messages/{{ mail.id }}/html"></iframe>
{% endif %}
{% if text %}<section><h2>Plain text</h2><pre>{{ text | linked }}</pre></section>{% endif %}
<details><summary>{{ headers | length }} headers</summary>
<dl class="headers">
{% for name, value in headers %}
<dt>{{ name }}</dt><dd>{{ value }}</dd>
{% endfor %}
</dl>
</details>
<p><a class="button" href="/messages/{{ mail.id }}/raw">As it came over the wire</a></p>
{% endblock %}
""",
}

STYLE = """
:root { color-scheme: light dark; --page: #f3f4f2; --sheet: #fff; --ink: #1d2124; --soft: #5a6167;
  --line: #dcdfdc; --link: #0f5f57; }
@media (prefers-color-scheme: dark) { :root { --page: #111315; --sheet: #1b1e22; --ink: #edeeec;
  --soft: #aab0b6; --line: #363c42; --link: #4cc4b5; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
header { display: flex; flex-wrap: wrap; gap: 2px 16px; align-items: baseline; padding: 14px 20px;
  background: #0c4a44; color: #fff; }
header a { color: #fff; font-weight: 700; font-size: 18px; text-decoration: none; }
header small { color: #cfe4e0; font-size: 14px; }
header :focus-visible { outline-color: #fff; }
main { max-width: 860px; margin: 0 auto; padding: 20px; }
h1 { margin: 0; font-size: 22px; line-height: 1.3; overflow-wrap: anywhere; }
h2 { margin: 0 0 8px; font-size: 16px; }
.bar { display: flex; flex-wrap: wrap; gap: 10px; align-items: center; margin-bottom: 16px; }
.bar h1 { flex: 1; }
button, .button { display: inline-block; padding: 9px 16px; border: 1px solid var(--line);
  border-radius: 8px; background: var(--sheet); color: var(--link); font: inherit;
  font-weight: 600; text-decoration: none; cursor: pointer; }
.mails { list-style: none; margin: 0; padding: 0; border-radius: 12px; overflow: hidden;
  background: var(--sheet); border: 1px solid var(--line); }
.mails li + li { border-top: 1px solid var(--line); }
.mails a { display: grid; grid-template-columns: 1fr auto; gap: 2px 16px; padding: 12px 18px;
  color: inherit; text-decoration: none; overflow-wrap: anywhere; }
.mails a:hover { background: color-mix(in srgb, var(--link) 8%, transparent); }
.mails a:focus-visible { outline-offset: -3px; }
.mails strong { grid-column: 1 / -1; }
.mails span, .mails time { color: var(--soft); font-size: 14px; }
.empty { padding: 60px 20px; text-align: center; color: var(--soft); background: var(--sheet);
  border: 1px dashed var(--line); border-radius: 12px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 16px; margin: 14px 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
iframe { width: 100%; height: 75vh; min-height: 420px; resize: vertical; background: #fff;
  border: 1px solid var(--line); border-radius: 12px; }
section, details { margin-top: 16px; padding: 14px 18px; background: var(--sheet);
  border: 1px solid var(--line); border-radius: 12px; }
summary { cursor: pointer; font-weight: 600; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere;
  font: 14px/1.55 ui-monospace, monospace; }
.headers { font-size: 14px; }
@media (max-width: 520px) {
  main { padding: 16px 12px; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: 8px; }
  .mails a { grid-template-columns: 1fr; padding: 12px 14px; }
}
"""


# --- running ----------------------------------------------------------------------------------


def main(argv: list[str]) -> int:
    """Serves until SIGTERM or SIGINT. Returns 1 if a port is taken."""
    parser = argparse.ArgumentParser(prog="python -m server.catcher", description=__doc__)
    parser.add_argument("--smtp", type=int, default=1025, help="port for mail")
    parser.add_argument("--http", type=int, default=8025, help="port for the inbox")
    parser.add_argument("--directory", type=Path, default=Path("var/mails"))
    arguments = parser.parse_args(argv)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    mailbox = Mailbox(arguments.directory)
    try:
        web = make_server(HOST, arguments.http, create_web(mailbox), threaded=True)
        with asyncio.Runner() as runner:
            runner.run(_serve(mailbox, web, arguments.smtp))
    except (OSError, SystemExit) as failure:
        sys.stderr.write(f"The mail catcher cannot start: {failure}\n")
        return 1
    return 0


async def _serve(mailbox: Mailbox, web: BaseWSGIServer, smtp_port: int) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    listener = await loop.create_server(lambda: _receiving(mailbox), HOST, smtp_port)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    port = listener.sockets[0].getsockname()[1]
    sys.stdout.write(f"mail catcher: smtp://{HOST}:{port} http://{HOST}:{web.port}\n")
    sys.stdout.flush()
    await ended.wait()
    listener.close()


class _Protocol(SMTP):
    line_length_limit = 65_536  # what some programs send; RFC 5321 ends lines at 1,000


def _receiving(mailbox: Mailbox) -> SMTP:
    return _Protocol(
        Receiver(mailbox),
        data_size_limit=MAX_MESSAGE_BYTES,
        decode_data=False,
        enable_SMTPUTF8=True,
        hostname="catcher.localhost",
        ident="Kontor mail catcher",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
