"""A bank that speaks FinTS 3.0 PIN/TAN over HTTP on loopback, with what real banks do.

It keeps dialogs, counts wrong PINs and locks after three, asks for strong authentication when
opening a dialog or for the postings, sends postings in pieces, and can be out of order in several
ways. Messages are written by hand, so that they do not depend on the library under test; what
arrives is read with that library. ``complaints`` holds what a strict bank would object to.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fints.types import SegmentSequence

from server.banking.fints import wire
from tests.fakes.fints_payments import ORDERS, POLLING_ID, VOP_ID, FakePayments, Submitted

CAMT_08 = "urn:iso:std:iso:20022:tech:xsd:camt.052.001.08"
CAMT_02 = "urn:iso:std:iso:20022:tech:xsd:camt.052.001.02"
WRONG_PINS_UNTIL_LOCKED = 3
SLOW_BYTES, SLOW_SECONDS = 200, 0.02  # four seconds for one answer
PNG = b"\x89PNG\r\n\x1a\n" + bytes(300)


@dataclass
class FakeMethod:
    """A TAN method; ``decoupled`` needs ``polls`` questions until the app was used."""

    id: str
    name: str
    decoupled: bool = False
    polls: int = 2
    picture: bytes | None = None
    flicker: str | None = None
    media: tuple[str, ...] = ()
    hktan: int = 7
    automatic: str = "J"


@dataclass
class FakeAccount:
    iban: str
    number: str
    owner: str = "Annas Antiquariat"
    currency: str = "EUR"
    bic: str = "BYLADEM1001"
    allowed: tuple[str, ...] = ("HKCAZ", "HKKAZ", "HKSPA")


@dataclass
class Waiting:
    """What a dialog waits for: the reference and, for a request, what to answer with."""

    task: str
    polls: int
    request: object | None
    order: Submitted | None = None
    wants_vpa: bool = False


@dataclass
class FakeDialog:
    id: str
    method: str
    expected: int = 2
    waiting: Waiting | None = None
    is_let_in: bool = False
    checking: Submitted | None = None  # the names of this order are compared, or were
    polls: int = 0


PHOTO_TAN = FakeMethod("902", "photoTAN", picture=PNG)
PUSH_TAN = FakeMethod("922", "pushTAN 2.0", decoupled=True)
CHIP_TAN = FakeMethod("912", "chipTAN 1.4", hktan=6)


@dataclass
class FakeFintsBank:
    """Start with ``with``; ``url`` is its address. Every field may be changed while it runs."""

    bank_code: str = "12030000"
    user: str = "erika"
    pin: str = "geheim?+'5"
    tan: str = "123456"
    product_id: str = "A1B2C3D4E5F6A7B8C9D0E1F2A"
    methods: tuple[FakeMethod, ...] = (PHOTO_TAN,)
    accounts: tuple[FakeAccount, ...] = ()
    camt: dict[date, bytes] = field(default_factory=dict)
    camt_pending: bytes | None = None
    camt_formats: tuple[str, ...] = (CAMT_02, CAMT_08)
    mt940: dict[date, bytes] = field(default_factory=dict)
    mt940_version: int | None = 7
    offers_camt: bool = True
    offers_spa: bool = True
    refuses_spa: bool = False
    takes_only_pin: bool = False  # names methods all the same
    refused_ibans: tuple[str, ...] = ()
    refusal_ends_dialog: bool = False
    days_per_answer: int = 1_000
    storage_days: int = 360
    today: date = date(2026, 11, 21)
    sca_days: int | None = 0  # a TAN at log-in when the last one is longer ago; None: never
    request_sca: bool = False  # a TAN for each request of postings
    confirmed_on: date | None = None
    forgets_devices: bool = False
    refuses_in_app: bool = False
    trouble: str | None = None
    refusal: tuple[str, ...] = ()  # "9010::words": the answer to every dialog
    announces_tan_for_orders: bool = True
    host: str = "127.0.0.1"
    payments: FakePayments = field(default_factory=lambda: FakePayments(kinds=()))

    def __post_init__(self) -> None:
        self.logins = 0
        self.wrong_pins = 0
        self.is_locked = False
        self.asked: list[str] = []
        self.ranges: list[tuple[date | None, date | None]] = []
        self.complaints: list[str] = []
        self.system_ids: list[str] = []
        self.products: list[str] = []
        self.tans_rung = 0
        self._closing = threading.Event()
        self._dialogs: dict[str, FakeDialog] = {}
        self._count = 0

    # --- the server ---

    def __enter__(self) -> FakeFintsBank:
        bank = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with suppress(OSError):
                    bank._serve(self, body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer((self.host, 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self._server.server_port}/fints"

    def _serve(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        status, content, headers = 200, b"", {}
        if self.trouble == "html":
            content = b"<!DOCTYPE html><html><body>Wartungsarbeiten</body></html>"
        elif self.trouble == "redirect":
            status, headers = 302, {"Location": "https://elsewhere.example.org/"}
        elif self.trouble is not None and self.trouble.isdigit():
            status = int(self.trouble)
        elif self.trouble == "huge":
            content = b"A" * 4096
        else:
            content = base64.b64encode(self._damaged(self._answer(base64.b64decode(body))))
        if self.payments.is_lost:
            self.payments.is_lost = False
            handler.close_connection = True
            return
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        more = 100 if self.trouble == "short" else 0
        handler.send_header("Content-Length", str(len(content) + more))
        handler.end_headers()
        if self.trouble == "slow":
            for byte in content[:SLOW_BYTES]:
                handler.wfile.write(bytes([byte]))
                self._closing.wait(SLOW_SECONDS)
            content = content[SLOW_BYTES:]
        handler.wfile.write(content)

    def _damaged(self, message: bytes) -> bytes:
        if self.trouble == "cut":
            return message[: len(message) // 2]
        return message

    # --- one message ---

    def _answer(self, received: bytes) -> bytes:
        # The library cannot read an order without the sum that a bank may not want.
        message = (wire.segments if b"HKCCM" in received else SegmentSequence)(received)
        head = message.find_segment_first("HNHBK")
        signature = message.find_segment_first("HNSHA").user_defined_signature
        out = _Writer(self, head.message_number)
        dialog = self._dialogs.get(head.dialog_id)
        if not self._lets_in(message, str(signature.pin.value), out):
            return out.message(head.dialog_id)
        if head.dialog_id == "0":
            dialog = self._new_dialog(message)
            self._open(dialog, message, out)
        elif dialog is None or head.message_number != dialog.expected:
            self.complaints.append(f"message {head.message_number} of {head.dialog_id}")
            out.whole("9010::Nachricht nicht erwartet", "9800::Dialog abgebrochen")
        else:
            dialog.expected += 1
            self._go_on(dialog, message, signature.tan, out)
        return out.message(dialog.id if dialog else head.dialog_id)

    def _lets_in(self, message: SegmentSequence, pin: str, out: _Writer) -> bool:
        if self.refusal:
            out.whole("9050::Die Nachricht enthaelt Fehler", "9800::Dialog abgebrochen")
            out.to(2, *self.refusal)
            return False
        user = message.find_segment_first("HNVSK").key_name.user_id
        if self.is_locked:
            out.whole("9050::Die Nachricht enthaelt Fehler", "9800::Dialog abgebrochen")
            out.to(2, "3938::Ihr Zugang ist vorlaeufig gesperrt")
            return False
        if user != self.user or pin != self.pin:
            self.wrong_pins += 1
            self.is_locked = self.wrong_pins >= WRONG_PINS_UNTIL_LOCKED
            out.whole("9050::Die Nachricht enthaelt Fehler", "9800::Dialog abgebrochen")
            out.to(2, f"9942::Die PIN {_escaped(pin)} ist falsch.")
            return False
        return True

    def _new_dialog(self, message: SegmentSequence) -> FakeDialog:
        self._count += 1
        function = message.find_segment_first("HNSHK").security_function
        dialog = FakeDialog(f"DIALOG{self._count}", str(function))
        self._dialogs[dialog.id] = dialog
        return dialog

    def _open(self, dialog: FakeDialog, message: SegmentSequence, out: _Writer) -> None:
        identity = message.find_segment_first("HKIDN")
        preparation = message.find_segment_first("HKVVB")
        self.products.append(preparation.product_name)
        synchronisation = message.find_segment_first("HKSYN")
        fault = self._fault(dialog.method, identity, preparation, synchronisation is None)
        if fault:
            out.whole("9050::Die Nachricht enthaelt Fehler", "9800::Dialog abgebrochen")
            out.to(3, fault)
            return
        self.logins += 1
        allowed = ":".join(method.id for method in self.methods)
        methods = [f"3920::Zugelassene Verfahren fuer den Benutzer:{allowed}"] if allowed else []
        has_no_method = dialog.method == "999" and bool(self.methods) and not self.takes_only_pin
        if has_no_method and synchronisation is None:
            out.whole("9050::Die Nachricht enthaelt Fehler", "9800::Dialog abgebrochen")
            out.to(3, "9075::Starke Authentifizierung erforderlich", *methods)
            return
        out.whole("0010::Nachricht entgegengenommen")
        out.to(identity.header.number, "0020::Dialog erfolgreich", *methods)
        if preparation.bpd_version < 17:
            self._write_bank_parameters(out)
        if synchronisation is not None:
            self.system_ids.append(f"SYS+{len(self.system_ids) + 1}")
            out.segment("HISYN", 4, _escaped(self.system_ids[-1]), synchronisation.header.number)
        tan = message.find_segment_first("HKTAN")
        if tan is not None and self._wants_sca():
            self._ask(dialog, tan, None, out)
            return
        if tan is not None:
            self._wave_through(tan, out)
        if not has_no_method:
            self._write_user_parameters(out)
            dialog.is_let_in = True

    def _fault(
        self, function: str, identity: object, preparation: object, has_system_id: bool
    ) -> str | None:
        if identity.bank_identifier.bank_code != self.bank_code:
            return "9010::Institut unbekannt"
        if self.takes_only_pin and function != "999":
            return "9110::Unbekannter Aufbau"
        if function not in {"999", *(method.id for method in self.methods)}:
            return "9210::Verfahren nicht zugelassen"
        if preparation.product_name != self.product_id:
            return "9078::Software nicht als FinTS-Produkt registriert."
        if has_system_id and identity.system_id not in self.system_ids:
            return "9391::Neue Kundensystem-ID holen"
        if has_system_id and self.forgets_devices:
            self.forgets_devices = False
            self.system_ids.clear()
            return "9391::Neue Kundensystem-ID holen"
        return None

    def _wants_sca(self) -> bool:
        if self.sca_days is None:
            return False
        return self.confirmed_on is None or self.today - self.confirmed_on >= timedelta(
            days=self.sca_days
        )

    def _go_on(
        self, dialog: FakeDialog, message: SegmentSequence, tan: str | None, out: _Writer
    ) -> None:
        kinds = [s.header.type for s in message.find_segments() if s.header.type.startswith("HK")]
        self.asked += kinds
        if kinds == ["HKEND"]:
            out.whole("0010::Nachricht entgegengenommen", "0100::Dialog beendet")
            del self._dialogs[dialog.id]
        elif dialog.waiting is not None:
            self._check(dialog, message, kinds, tan, out)
        elif not dialog.is_let_in:
            self.complaints.append(f"{kinds} before the log-in was confirmed")
            out.whole("9050::Fehler", "9800::Dialog abgebrochen")
        else:
            out.whole("0010::Nachricht entgegengenommen")
            self._request(dialog, message, kinds, out)

    def _request(
        self, dialog: FakeDialog, message: SegmentSequence, kinds: list[str], out: _Writer
    ) -> None:
        request = message.find_segment_first(kinds[0])
        tan = message.find_segment_first("HKTAN")
        if set(kinds) & {*ORDERS, "HKVPP", "HKVPA"}:
            self._pay(dialog, message, kinds, out)
            return
        if self._wants_hktan(kinds[0]) and tan is None:
            self.complaints.append(f"{kinds[0]} without HKTAN")
        if tan is not None and kinds[0] not in {"HKCAZ", "HKKAZ"}:
            self.complaints.append(f"{kinds[0]} with HKTAN")
        if tan is not None and tan.segment_type not in (None, kinds[0]):
            self.complaints.append(f"HKTAN is about {tan.segment_type}")
        if tan is not None and self.request_sca and kinds[0] in {"HKCAZ", "HKKAZ"}:
            self._ask(dialog, tan, request, out)
            return
        if tan is not None:
            self._wave_through(tan, out)
        self._write_answer(request, out)

    def _wants_hktan(self, kind: str) -> bool:
        return kind in {"HKCAZ", "HKKAZ"} and bool(self.methods) and not self.takes_only_pin

    # --- orders to pay ---

    def _pay(
        self, dialog: FakeDialog, message: SegmentSequence, kinds: list[str], out: _Writer
    ) -> None:
        payments = self.payments
        question = message.find_segment_first("HKVPP")
        approval = message.find_segment_first("HKVPA")
        order = payments.order_in(message, self.complaints)
        if order is None:
            self._go_on_comparing(dialog, question, kinds, out)
            return
        number = message.find_segment_first(order.kind).header.number
        tan = message.find_segment_first("HKTAN")
        if tan is None:
            out.to(number, "0030::Auftrag empfangen - bitte die TAN eingeben")
            return
        if kinds[-1] != "HKTAN" or (tan.segment_type != order.kind):
            self.complaints.append(f"an order in {kinds}")
        if payments.refusal:
            out.to(number, payments.refusal)
            return
        if payments.names and not payments.needs_no_check and approval is None:
            self._compare(dialog, order, question, tan, out)
            return
        if question is not None:
            out.to(question.header.number, "3091::Ausfuehrungsauftrag nicht benoetigt")
        if approval is not None and not self._approves(dialog, order, approval, out):
            return
        self._take(dialog, order, number, tan, out)

    def _compare(
        self, dialog: FakeDialog, order: Submitted, question: object, tan: object, out: _Writer
    ) -> None:
        payments = self.payments
        if question is None:
            out.to(tan.header.number, "9076::Namensabgleich erforderlich")
            return
        dialog.checking, dialog.polls = order, payments.polls
        must_confirm = payments.insists or (payments.deviates(order) and not payments.asks_along)
        if payments.names == "polled":
            payments.write_running(order, question.header.number, out)
            out.to(tan.header.number, "3905::Es wurde keine Challenge erzeugt")
            out.to(tan.header.number, "3945::Freigabe ohne VOP-Bestaetigung nicht moeglich")
            return
        payments.write_names(order, question.header.number, out)
        if must_confirm:
            out.to(tan.header.number, "3945::Freigabe ohne VOP-Bestaetigung nicht moeglich")
        else:
            self._ask(dialog, tan, None, out)
            dialog.waiting.order, dialog.waiting.wants_vpa = order, True

    def _go_on_comparing(
        self, dialog: FakeDialog, question: object, kinds: list[str], out: _Writer
    ) -> None:
        known = (question.polling_id, question.aufsetzpunkt) == (POLLING_ID, "staticscrollref")
        if kinds != ["HKVPP"] or not known or dialog.checking is None:
            self.complaints.append(f"{kinds} while names are compared")
        dialog.polls -= 1
        if dialog.polls > 0:
            self.payments.polls = dialog.polls
            self.payments.write_running(dialog.checking, question.header.number, out)
        else:
            self.payments.write_names(dialog.checking, question.header.number, out)

    def _approves(
        self, dialog: FakeDialog, order: Submitted, approval: object, out: _Writer
    ) -> bool:
        number = approval.header.number
        checked = dialog.checking
        if approval.vop_id != VOP_ID or checked is None or checked.content != order.content:
            self.complaints.append("HKVPA for another order")
            out.to(number, "9210::VOP-ID passt nicht zum Auftrag")
            return False
        out.to(number, "0020::Ausfuehrungsbestaetigung nach Namensabgleich erhalten")
        return True

    def _take(
        self, dialog: FakeDialog, order: Submitted, number: int, tan: object, out: _Writer
    ) -> None:
        if self.payments.wants_tan:
            self._ask(dialog, tan, None, out)
            dialog.waiting.order = order
            return
        self.payments.carry_out(order, "order")
        if not self.payments.mumbles:
            out.to(number, "0010::Auftrag entgegengenommen")
        self._wave_through(tan, out)

    # --- strong authentication ---

    def _method(self, dialog: FakeDialog) -> FakeMethod:
        return next(method for method in self.methods if method.id == dialog.method)

    def _ask(self, dialog: FakeDialog, tan: object, request: object | None, out: _Writer) -> None:
        method = self._method(dialog)
        self.tans_rung += 1
        dialog.waiting = Waiting(f"TASK-{self.tans_rung}", method.polls, request)
        code = "3955" if method.decoupled else "0030"
        out.to(tan.header.number, f"{code}::Freigabe erforderlich")
        challenge = b"Bitte <b>best?+tigen</b> Sie:<br>Umsatzabfrage ?: ?'heute?'"
        out.segment(
            "HITAN",
            tan.header.version,
            b"4++"
            + dialog.waiting.task.encode()
            + b"+"
            + challenge
            + b"+"
            + self._code(method)
            + b"++"
            + (tan.tan_medium_name or "").encode(),
            tan.header.number,
        )

    def _code(self, method: FakeMethod) -> bytes:
        if method.picture is not None:
            mime = b"image/png"
            code = _counted(mime) + _counted(method.picture)
            return _binary(code)
        return _binary(method.flicker.encode()) if method.flicker else b""

    def _wave_through(self, tan: object, out: _Writer) -> None:
        out.to(tan.header.number, "3076::Starke Kundenauthentifizierung nicht notwendig.")
        out.segment("HITAN", tan.header.version, b"4++noref+nochallenge", tan.header.number)

    def _check(
        self,
        dialog: FakeDialog,
        message: SegmentSequence,
        kinds: list[str],
        typed: str | None,
        out: _Writer,
    ) -> None:
        waiting, tan = dialog.waiting, message.find_segment_first("HKTAN")
        decoupled = self._method(dialog).decoupled
        approval = message.find_segment_first("HKVPA")
        expected = ["HKVPA", "HKTAN"] if waiting.wants_vpa else ["HKTAN"]
        if waiting.wants_vpa and approval is not None:
            self._approves(dialog, waiting.order, approval, out)
            waiting.wants_vpa = False
        if kinds != expected or tan.task_reference != waiting.task:
            self.complaints.append(f"{kinds} while a TAN is waited for")
        if tan.tan_process != ("S" if decoupled else "2"):
            self.complaints.append(f"TAN process {tan.tan_process}")
        number, version = tan.header.number, tan.header.version
        said_no = self.refuses_in_app if decoupled else typed != self.tan
        if said_no:
            out.whole("9050::Die Nachricht enthaelt Fehler", "9800::Dialog abgebrochen")
            out.to(number, "9951::Abgelehnt" if decoupled else f"9941::TAN {typed} ungueltig")
            return
        out.whole("0010::Nachricht entgegengenommen")
        if decoupled and waiting.polls > 0:
            waiting.polls -= 1
            out.to(number, "3956::Starke Kundenauthentifizierung noch ausstehend.")
            out.segment("HITAN", version, f"S++{waiting.task}".encode(), number)
            return
        dialog.waiting = None
        self.confirmed_on = self.today
        if waiting.order is not None:
            self.payments.carry_out(waiting.order, "tan")
        if waiting.order is None or not self.payments.mumbles:
            out.to(number, "0020::Auftrag ausgefuehrt")
        out.segment("HITAN", version, f"{tan.tan_process}++{waiting.task}".encode(), number)
        if waiting.order is not None:
            return
        if waiting.request is None:
            dialog.is_let_in = True
            self._write_user_parameters(out)
        else:
            self._write_answer(waiting.request, out)

    # --- parameters ---

    def _write_bank_parameters(self, out: _Writer) -> None:
        out.segment("HIBPA", 3, f"17+280:{self.bank_code}+Testbank+3+1+300+0", 4)
        pins = "HKSPA:N:HKEND:N:HKTAB:N:HKCAZ:J:HKKAZ:J:HKTAN:N:HKVPP:N:HKVPA:N"
        pins += ":HKCCS:J:HKCCM:J" if self.announces_tan_for_orders else ""
        out.segment("HIPINS", 1, f"1+1+0+5:38:6:Benutzer::{pins}", 4)
        for version in (6, 7):
            methods = [self._parameters(m) for m in self.methods if m.hktan == version]
            if methods:
                out.segment("HITANS", version, "1+1+0+J:N:0:" + ":".join(methods), 4)
        if any(method.media for method in self.methods):
            out.segment("HITABS", 4, "1+1+0", 4)
        if self.offers_spa:
            formats = ":".join(map(_escaped, self.payments.formats))
            out.segment("HISPAS", 1, f"1+1+0+J:N:N:{formats}", 4)
        self.payments.write_parameters(out)
        if self.offers_camt:
            formats = ":".join(map(_escaped, self.camt_formats))
            out.segment("HICAZS", 1, f"1+1+0+{self.storage_days}:N:N:{formats}", 4)
        if self.mt940_version:
            out.segment("HIKAZS", self.mt940_version, f"1+1+0+{self.storage_days}:J:N", 4)
        out.segment("HIXYZS", 3, "1+1+0+whatever:1", 4)

    def _parameters(self, method: FakeMethod) -> str:
        name = "Decoupled" if method.decoupled else ""
        needs_medium = "2" if method.media else "0"
        count = len(method.media) or 1
        shared = (
            f"{method.id}:2:ID{method.id}:{name}::{_escaped(method.name)}:6:1:TAN:2048:J:1:N:0:0:N:J"
            f":00:{needs_medium}:N:{count}"
        )
        if method.hktan == 6:
            return shared
        return f"{shared}:{f'60:2:1:J:{method.automatic}' if method.decoupled else '::::'}"

    def _write_user_parameters(self, out: _Writer) -> None:
        out.segment("HIUPA", 4, f"{self.user}+5+0", 4)
        for account in self.accounts:
            allowed = "+".join(f"{kind}:1" for kind in account.allowed)
            out.segment(
                "HIUPD",
                6,
                f"{account.number}::280:{self.bank_code}+{account.iban}+{self.user}+1"
                f"+{account.currency}+{_escaped(account.owner)}++Girokonto++{allowed}",
                4,
            )

    # --- answers to requests ---

    def _write_answer(self, request: object, out: _Writer) -> None:
        kind = request.header.type
        if kind == "HKSPA" and self.refuses_spa:
            out.to(request.header.number, "9010::Der Benutzer ist nicht befugt")
        elif kind == "HKSPA":
            self._write_accounts(request, out)
        elif kind == "HKTAB":
            self._write_media(request, out)
        elif kind in {"HKCAZ", "HKKAZ"}:
            self._write_postings(request, kind == "HKCAZ", out)
        else:
            self.complaints.append(f"{kind} is unknown")
            out.to(request.header.number, "9210::Auftrag unbekannt")

    def _write_accounts(self, request: object, out: _Writer) -> None:
        out.to(request.header.number, "0020::Auftrag ausgefuehrt")
        rows = "+".join(
            f"J:{account.iban}:{account.bic}:{account.number}::280:{self.bank_code}"
            for account in self.accounts
        )
        out.segment("HISPA", 1, rows, request.header.number)

    def _write_media(self, request: object, out: _Writer) -> None:
        out.to(request.header.number, "0020::Auftrag ausgefuehrt")
        names = [name for method in self.methods for name in method.media]
        rows = "+".join(f"M:1{':' * 11}{_escaped(name)}" for name in names)
        out.segment("HITAB", 4, f"0+{rows}", request.header.number)

    def _write_postings(self, request: object, is_camt: bool, out: _Writer) -> None:
        number = request.header.number
        self._check_account(request)
        if getattr(request.account, "iban", None) in self.refused_ibans:
            out.to(number, "9010::Konto ist nicht berechtigt")
            if self.refusal_ends_dialog:
                out.to(number, "9800::Dialog abgebrochen")
                self._dialogs.clear()
            return
        first, last = request.date_start, request.date_end
        self.ranges.append((first, last))
        content = self.camt if is_camt else self.mt940
        days = sorted(d for d in content if (not first or d >= first) and (not last or d <= last))
        start = int((request.touchdown_point or "P0")[1:])
        page = days[start : start + self.days_per_answer]
        if not page:
            out.to(number, "3010::Keine Eintraege")
            return
        more = start + len(page)
        codes = [f"3040::Weitere Informationen:P{more}"] if more < len(days) else []
        out.to(number, "0020::Auftrag ausgefuehrt", *codes)
        if is_camt:
            formats = list(request.supported_camt_messages.expected_type)
            if len(formats) != 1:
                self.complaints.append(f"camt formats {formats}")
            documents = b":".join(_binary(content[day]) for day in page)
            pending = b"+" + _binary(self.camt_pending) if self.camt_pending else b""
            account = f"{request.account.iban}:{request.account.bic}"
            start_of = f"{account}+{_escaped(formats[0])}+".encode("iso-8859-1")
            out.segment("HICAZ", 1, start_of + documents + pending, number)
        else:
            text = b"".join(content[day] for day in page)
            out.segment("HIKAZ", request.header.version, _binary(text), number)

    def _check_account(self, request: object) -> None:
        asked = request.account
        iban = getattr(asked, "iban", None)
        number = getattr(asked, "account_number", None)
        known: Iterable[str | None] = (iban, number)
        if not any(a.iban in known or a.number in known for a in self.accounts):
            self.complaints.append(f"account {iban or number}")


class _Writer:
    """The answer to one message: numbered segments in an envelope."""

    def __init__(self, bank: FakeFintsBank, number: int) -> None:
        self.bank = bank
        self.number = number
        self.segments: list[bytes] = []

    def segment(self, kind: str, version: int, body: str | bytes, to: int | None = None) -> None:
        at = len(self.segments) + 2
        head = f"{kind}:{at}:{version}" + (f":{to}" if to else "")
        content = body.encode("iso-8859-1") if isinstance(body, str) else body
        self.segments.append(head.encode() + b"+" + content + b"'")

    def whole(self, *codes: str) -> None:
        self.segment("HIRMG", 2, "+".join(codes))

    def to(self, segment: int, *codes: str) -> None:
        self.segment("HIRMS", 2, "+".join(codes), segment)

    def message(self, dialog: str) -> bytes:
        inner = b"".join(self.segments)
        who = f"280:{self.bank.bank_code}:{_escaped(self.bank.user)}"
        rest = (
            f"HNVSK:998:3+PIN:2+998+1+2::0+1:20261121:120000+2:2:13:@8@00000000:5:1+{who}:V:0:0+0'"
            f"HNVSD:999:1+"
        ).encode()
        rest += _binary(inner) + f"'HNHBS:{len(self.segments) + 2}:1+{self.number}'".encode()
        tail = f"+300+{dialog}+{self.number}+{dialog}:{self.number}'"
        size = len("HNHBK:1:3+") + 12 + len(tail) + len(rest)
        return f"HNHBK:1:3+{size:012d}{tail}".encode() + rest


def _escaped(text: str) -> str:
    return re.sub(r"([+:'@?])", r"?\1", text)


def _binary(content: bytes) -> bytes:
    return f"@{len(content)}@".encode() + content


def _counted(content: bytes) -> bytes:
    return len(content).to_bytes(2, "big") + content
