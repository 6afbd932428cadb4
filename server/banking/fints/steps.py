"""What goes into a conversation with a bank, and what comes out of each step of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who talks to which bank. The PIN is in no repr; nothing here is ever stored by this package.

    ``bank_code`` is the German Bankleitzahl, 8 digits. ``customer_id`` is only needed where the
    bank gave one besides the user id. ``product_id`` is the registration number of the
    installation (KONTOR_FINTS_PRODUCT_ID), which the banks demand since 2019. With
    ``allows_loopback`` plain http to this machine is allowed: for tests, never for a merchant.
    """

    bank_code: str
    url: str
    user: str
    pin: str = field(repr=False)
    product_id: str
    customer_id: str | None = None
    allows_loopback: bool = False


@dataclass(frozen=True, slots=True)
class Method:
    """One way to confirm (TAN-Verfahren). ``id`` is the bank's three digits for it."""

    id: str
    name: str
    is_decoupled: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """The picture of a challenge (photoTAN, QR-TAN): ``mime`` is image/png, jpeg or gif."""

    mime: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class FoundAccount:
    """An account that the user may see. ``bank_code`` is the Bankleitzahl."""

    iban: str
    bic: str | None
    number: str
    subaccount: str | None
    bank_code: str
    owner: str | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """One file as the bank gave it, for `server.banking.formats.parse`.

    ``iban`` is the account that was asked for. ``is_pending`` files hold only announced
    payments, which are no postings yet.
    """

    name: str
    content: bytes = field(repr=False)
    is_pending: bool = False
    iban: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An account of several whose postings the bank did not give, and why."""

    iban: str
    why: str


@dataclass(frozen=True, slots=True)
class ChooseMethod:
    """The user must choose. With ``media`` the method is chosen and one of its media is asked for:
    the names of phones or readers as the bank knows them."""

    state: bytes = field(repr=False)
    methods: tuple[Method, ...]
    media: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NeedsTan:
    """The user must confirm: type a TAN, or approve in the app when ``is_decoupled``.

    ``challenge_text`` is plain text (lines are kept, mark-up is not). ``flicker`` is the code
    (HHD 1.4) that a flickering picture shows to a TAN generator. ``poll_after_seconds`` is how
    long to wait before ``confirm`` asks again; with ``may_poll`` false only after a click.
    """

    state: bytes = field(repr=False)
    challenge_text: str = field(repr=False)
    is_decoupled: bool
    picture: Picture | None = None
    flicker: str | None = field(default=None, repr=False)
    medium: str | None = None
    poll_after_seconds: int = 0
    may_poll: bool = True


@dataclass(frozen=True, slots=True)
class Connected:
    """The bank let the user in. ``was_confirmed``: with a TAN just now."""

    state: bytes = field(repr=False)
    accounts: tuple[FoundAccount, ...]
    was_confirmed: bool = False


@dataclass(frozen=True, slots=True)
class Fetched:
    """What the bank has from ``since`` on; no files when it has nothing.

    ``since`` is later than asked for when the bank does not keep postings that long. ``refusals``
    only where several accounts were asked for and some of them came.
    """

    state: bytes = field(repr=False)
    files: tuple[FetchedFile, ...]
    since: date
    was_confirmed: bool = False
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class PayeeCheck:
    """What the payee's bank says to the name of one payee (Verification of Payee, EPC 218-23).

    ``result`` is ``match``, ``close_match`` (``name`` is what the account is held by),
    ``no_match``, ``not_possible`` (``why``, if the bank says it) or ``unclear``. ``end_to_end_id``
    and ``iban`` say which payment of a file it is about; both None: the file as a whole.
    """

    result: str
    end_to_end_id: str | None = None
    iban: str | None = None
    name: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class NeedsTime:
    """The bank still compares the payees' names: ``confirm`` asks again, without a TAN."""

    state: bytes = field(repr=False)
    poll_after_seconds: int = 0


@dataclass(frozen=True, slots=True)
class ConfirmPayees:
    """A person must ``accept`` or ``refuse``: not every payee bears the name that the order gives.

    ``checks`` holds those that are no match; ``notice`` the bank's words about what follows, as
    plain text, often empty.
    """

    state: bytes = field(repr=False)
    checks: tuple[PayeeCheck, ...]
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Transferred:
    """The bank took the order; ``said`` are its words."""

    state: bytes = field(repr=False)
    said: str = ""


Step = ChooseMethod | NeedsTan | Connected | Fetched | NeedsTime | ConfirmPayees | Transferred
