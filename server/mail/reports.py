"""What came back about a mail, read: a bounce, a delay, a complaint, an automatic answer. Pure.

Understood in this order: a complaint (ARF, RFC 5965), a delivery status (DSN, RFC 3464), the
header by which Exim names failed recipients, an automatic answer (RFC 3834), and last the free
text of servers that write for people only, in German and English. What is none of these is
`other` and changes nothing. Answers of people and machines quote anything, so free text counts
only where a mail server speaks.

Everything here comes from strangers: no expression can be made to look twice at much, and nothing
raises.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from server.mail.parts import (
    MAIL_TYPES,
    Part,
    author_of,
    fields_within,
    one_line,
    parts_of,
    text_of,
    words_of_field,
)

MAX_WORDS: Final = 600
WORD_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class Report:
    """What a report says.

    ``kind``: `bounced`, `delayed`, `delivered`, `complaint`, `auto_reply`, `other`.
    ``status_code`` is the enhanced one (RFC 3463, "5.1.1"), else SMTP's ("550"), else "".
    ``words`` are the reporting server's, one line. ``return_path`` is the envelope sender of the
    mail that it is about, as far as it says so.
    """

    kind: str
    status_code: str = ""
    words: str = ""
    original_message_id: str = ""
    reporter: str = ""
    return_path: str = ""


def read_report(raw: bytes) -> Report:
    """What this mail reports, of its first MiB."""
    every = parts_of(raw)
    head, original = every[0].head, _original(every)
    parts = [part for part in every if not part.is_quoted]
    found = _complaint(parts) or _status(parts) or _spoken(parts, head)
    reporter = found.reporter or author_of(head.get("from", ""))[1]
    return Report(
        found.kind,
        found.status_code,
        one_line(found.words, MAX_WORDS),
        one_line(original.get("message-id", ""), MAX_WORDS),
        one_line(reporter, MAX_WORDS),
        one_line(found.return_path or original.get("return-path", ""), MAX_WORDS).strip("<>"),
    )


def _original(parts: Sequence[Part]) -> Mapping[str, str]:
    """The head of the mail that the report is about."""
    for number, part in enumerate(parts):
        if part.content_type in MAIL_TYPES and number + 1 < len(parts):
            return parts[number + 1].head
        if part.content_type in ("text/rfc822-headers", "message/global-headers"):
            return fields_within(part)[0]
    return {}


# --- complaints ---------------------------------------------------------------------------------

_COMPLAINTS: Final = frozenset({"abuse", "fraud", "virus", "opt-out", "opt-out-list", "complaint"})


def _complaint(parts: Sequence[Part]) -> Report | None:
    """RFC 5965; a report that says the mail was none, or that a signature failed, is `other`."""
    for part in parts:
        if part.content_type == "message/feedback-report":
            said = fields_within(part)[0]
            feedback = said.get("feedback-type", "").lower()
            by = said.get("user-agent", "") or said.get("reported-domain", "")
            words = f"Feedback-Type: {feedback}" + (f" ({by})" if by else "")
            return Report(
                "complaint" if feedback in _COMPLAINTS else "other",
                words=words,
                reporter=_after_type(said.get("reporting-mta", "")),
                return_path=said.get("original-mail-from", ""),
            )
    return None


# --- delivery status ----------------------------------------------------------------------------

_ACTIONS: Final = {"failed": "bounced", "delayed": "delayed", "delivered": "delivered"}
"""`relayed` and `expanded` say that nobody will hear more: nothing changes."""
_ENHANCED: Final = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?!\.?\d)", re.ASCII)
_BASIC: Final = re.compile(r"(?<![\d.,:/+-])([45][0-5]\d)(?=[ \-:#)\]])", re.ASCII)
_SMTP_WORDS: Final = re.compile(
    r"smtp|error|said|host|server|fehler|code|reason|<<<", re.IGNORECASE
)


def _status(parts: Sequence[Part]) -> Report | None:
    """RFC 3464, 2.1: fields of the message, then a group for each recipient."""
    for part in parts:
        if part.content_type in ("message/delivery-status", "message/global-delivery-status"):
            groups = fields_within(part)
            told = [group for group in groups if "action" in group or "status" in group]
            if told:
                return _worst(told, _after_type(groups[0].get("reporting-mta", "")), parts)
    return None


def _worst(groups: Sequence[Mapping[str, str]], reporter: str, parts: Sequence[Part]) -> Report:
    """Our mails have one recipient; where servers tell of several, a failure is what counts."""
    order = ("bounced", "delayed", "delivered", "other")
    kinds = [_kind_of(group) for group in groups]
    first = min(range(len(groups)), key=lambda at: order.index(kinds[at]))
    group = groups[first]
    said = _after_type(words_of_field(group.get("diagnostic-code", "")))
    code = _code_of(group.get("status", ""), said)
    if not said and kinds[first] == "bounced":
        said = _telling_lines(_own_text(parts)) or group.get("status", "")
    return Report(kinds[first], code, said, reporter=reporter)


def _kind_of(group: Mapping[str, str]) -> str:
    action = group.get("action", "").split("(")[0].split(maxsplit=1)
    if action:
        return _ACTIONS.get(action[0].lower(), "other")
    begins = group.get("status", "")[:1]
    return {"5": "bounced", "4": "delayed", "2": "delivered"}.get(begins, "other")


def _code_of(status: str, said: str) -> str:
    """The status; where it is a general one, what the remote server said more exactly."""
    stated = _ENHANCED.search(status)
    exact = _ENHANCED.search(said)
    if stated and not stated[1].endswith(".0.0"):
        return stated[1]
    if exact:
        return exact[1]
    basic = _BASIC.search(f"{said} ")
    return stated[1] if stated and not basic else basic[1] if basic else ""


def _after_type(value: str) -> str:
    """``smtp; 550 5.1.1 unknown`` and ``dns; mx.example.org`` without their types."""
    kind, semicolon, rest = value.partition(";")
    return rest.strip() if semicolon and len(kind) <= 20 and " " not in kind.strip() else value


# --- automatic answers and free text ------------------------------------------------------------

_DAEMONS: Final = re.compile(
    r"mailer-?daemon|postmaster|mail-?system|mdaemon|microsoftexchange|mail\.?delivery",
    re.IGNORECASE,
)
_BOUNCE_SUBJECTS: Final = re.compile(
    r"undeliver|delivery (?:status|failure|has failed|incomplete)|failure notice|returned mail"
    r"|returning message|could not be delivered|mail delivery (?:failed|system)|warning: message"
    r"|unzustellbar|nicht zustellbar|nicht zugestellt|zustellung (?:fehlgeschlagen|verz)"
    r"|zustellfehler|delayed",
    re.IGNORECASE,
)
_ANSWER_SUBJECTS: Final = re.compile(
    r"out of (?:the )?office|automatic (?:reply|response)|auto(?:matic)?[ -]?repl|autorespon"
    r"|abwesen|automatische antwort|nicht im (?:büro|haus)|eingangsbestätigung|réponse automatique"
    r"|absence du bureau|absent|risposta automatica|fuori sede|automatisch antwoord|afwezig"
    r"|respuesta automática|fuera de la oficina|vacation|urlaub|please confirm|bitte bestätigen",
    re.IGNORECASE,
)
_ANSWER_FIELDS: Final = ("x-autoreply", "x-autorespond", "x-autoresponder", "x-auto-reply")
_COPY_BEGINS: Final = re.compile(
    r"^[> \t]{0,8}-{2,80}[^\n]{0,20}(?:copy of|header of|original|ursprüngliche|kopie"
    r"|forwarded|returned|unsent)",
    re.IGNORECASE | re.MULTILINE,
)


def _spoken(parts: Sequence[Part], head: Mapping[str, str]) -> Report:
    """What no standard field says."""
    if any(part.content_type == "message/disposition-notification" for part in parts):
        return Report("other", words=words_of_field(head.get("subject", "")))
    subject = words_of_field(head.get("subject", ""))
    failed = head.get("x-failed-recipients", "")
    if not failed and _is_answer(head, subject):
        return Report("auto_reply", words=subject)
    if failed or _is_server(head, subject):
        return _free_text(_own_text(parts), subject, is_failed=bool(failed))
    return Report("auto_reply" if _submitted(head) else "other", words=subject)


def _is_answer(head: Mapping[str, str], subject: str) -> bool:
    """Exim, Postfix and others call their bounces auto-replied as well, so subjects decide."""
    if any(head.get(name, "").lower() not in ("", "no") for name in _ANSWER_FIELDS):
        return True
    if _ANSWER_SUBJECTS.search(subject):
        return not _BOUNCE_SUBJECTS.search(subject)
    return _submitted(head) and not _is_server(head, subject)


def _submitted(head: Mapping[str, str]) -> bool:
    word = head.get("auto-submitted", "").split(";")[0].strip().lower()
    return word.startswith("auto-") or head.get("precedence", "").lower() == "auto_reply"


def _is_server(head: Mapping[str, str], subject: str) -> bool:
    name, address = author_of(head.get("from", ""))
    is_daemon = _DAEMONS.search(address.partition("@")[0]) or _DAEMONS.search(name)
    is_null = head.get("return-path", "").strip() == "<>"
    return bool(is_daemon) or (is_null and bool(_BOUNCE_SUBJECTS.search(subject)))


def _own_text(parts: Sequence[Part]) -> str:
    """What the reporting server wrote, without the mail that it returns."""
    for wanted in ("text/plain", "text/html"):
        for part in parts:
            if part.content_type == wanted:
                text = text_of(part).replace("\u2019", "'")
                copy = _COPY_BEGINS.search(text)
                text = text[: copy.start()] if copy else text
                if text.strip():
                    return text
    return ""


_LATER: Final = re.compile(
    r"(?:still|not yet|has not) been delivered|delivery (?:has been |is )?delayed"
    r"|will (?:be retried|continue|keep|try again)|no action is required|temporary problem"
    r"|noch nicht (?:zugestellt|ausgeliefert)|weiter(?:hin)? versucht|verzögert"
    r"|erneut (?:zuzustellen|versucht)",
    re.IGNORECASE,
)
_PHRASES: Final = {
    "5.2.2": """mailbox full|mailbox is full|quota exceeded|over quota|overquota|out of storage
        |exceeded … storage|exceeded … quota|postfach … voll|postfach … überfüllt|speicher … voll
        |speicher … überschritten""",
    "5.2.1": """account … disabled|account … inactive|account … suspended|mailbox … disabled
        |mailbox … inactive|user … deactivated|konto … deaktiviert|konto … gesperrt
        |postfach … gesperrt|postfach … stillgelegt""",
    "5.1.2": """domain … not found|domain … does not exist|domain … couldn't be found
        |domain … existiert nicht|domain … nicht gefunden|unrouteable|host not found
        |couldn't find any host""",
    "5.1.1": """user unknown|unknown user|unknown recipient|unknown mailbox|no such user
        |no such mailbox|no such recipient|no such person|no mailbox here|recipient not found
        |address … not found|address … wasn't found|address … couldn't be found
        |address … does not exist|address … doesn't exist|mailbox … does not exist
        |user … does not exist|user … doesn't have|unbekannte|adresse … existiert nicht
        |adresse … nicht gefunden|empfänger … nicht gefunden|empfänger … unbekannt
        |empfänger … existiert nicht|postfach … existiert nicht|adresse … gibt es nicht""",
    "5.3.4": "message … too large|message … too big|zu groß|exceeds … size|exceeded … size",
    "4.4.7": """expired|retry time|timeout exceeded|too long|for more than|seit … tagen
        |seit … stunden|nicht erreich""",
    "5.7.1": """spam|blacklist|blocklist|reputation|policy|not authorized|not permitted
        |not allowed|access denied|abgelehnt|verweigert|nicht berechtigt|keine berechtigung""",
}
"""What servers that give no code say, by the code that they mean; "…" is a part of a line."""


def _phrase(listed: str) -> re.Pattern[str]:
    phrases = [re.escape(" ".join(phrase.split())) for phrase in listed.split("|")]
    return re.compile("|".join(phrases).replace(r"\ …\ ", r"[^\n]{0,60}"), re.IGNORECASE)


_SAID: Final = tuple((code, _phrase(listed)) for code, listed in _PHRASES.items())


def _free_text(text: str, subject: str, *, is_failed: bool) -> Report:
    """Codes first, then phrases. Without either nobody can say what is wrong with the mail."""
    is_later = not is_failed or "delayed" in subject.lower() or "warning" in subject.lower()
    is_delayed = is_later and bool(_LATER.search(f"{subject}\n{text}"))
    exact = _ENHANCED.search(text)
    phrase = next((code for code, said in _SAID if said.search(text)), "")
    basic = _basic_code(text)
    code = exact[1] if exact else phrase or basic
    if not (code or is_failed or is_delayed):
        return Report("other", words=subject)
    kind = "delayed" if is_delayed else "delivered" if code.startswith("2") else "bounced"
    return Report(kind, code, _telling_lines(text) or subject)


def _basic_code(text: str) -> str:
    """A number such as 550 in a line that speaks of mail servers: others are amounts and rooms."""
    for line in text.split("\n"):
        found = _BASIC.search(f"{line[:MAX_WORDS]} ")
        if found and (_SMTP_WORDS.search(line[:MAX_WORDS]) or found.start() <= 2):
            return found[1]
    return ""


def _telling_lines(text: str) -> str:
    """The line with the code or the phrase, and what follows it in its paragraph."""
    lines = [line.strip()[:MAX_WORDS] for line in text.split("\n")]
    tests = (
        _ENHANCED.search,
        lambda line: _BASIC.search(f"{line} ") and _SMTP_WORDS.search(line),
        lambda line: any(said.search(line) for _, said in _SAID),
        _LATER.search,
    )
    for is_telling in tests:
        for number, line in enumerate(lines):
            if line and is_telling(line):
                after = lines[number + 1 : number + WORD_LINES]
                rest = after[: after.index("")] if "" in after else after
                return " ".join([line, *rest])
    return ""
