"""FinTS: bank accounts that fetch themselves and pay. Transport only: no file is read here.

`conversation` and `transfers` have the steps, `steps` what they take and give, `answers` the
errors, `banks` the addresses, `rules` how often and from when. No database and no web; the caller
seals what is kept.
"""

from __future__ import annotations

from server.banking.fints.answers import AccessLocked, InDoubt, NotConfirmed, OrderRefused, WrongPin
from server.banking.fints.conversation import choose_method, confirm, fetch, start
from server.banking.fints.steps import (
    ChooseMethod,
    ConfirmPayees,
    Connected,
    Credentials,
    Fetched,
    FetchedFile,
    FoundAccount,
    Method,
    NeedsTan,
    NeedsTime,
    PayeeCheck,
    Picture,
    Refusal,
    Step,
    Transferred,
)
from server.banking.fints.transfers import accept, most_payments, refuse, transfer

__all__ = [
    "AccessLocked",
    "ChooseMethod",
    "ConfirmPayees",
    "Connected",
    "Credentials",
    "Fetched",
    "FetchedFile",
    "FoundAccount",
    "InDoubt",
    "Method",
    "NeedsTan",
    "NeedsTime",
    "NotConfirmed",
    "OrderRefused",
    "PayeeCheck",
    "Picture",
    "Refusal",
    "Step",
    "Transferred",
    "WrongPin",
    "accept",
    "choose_method",
    "confirm",
    "fetch",
    "most_payments",
    "refuse",
    "start",
    "transfer",
]
