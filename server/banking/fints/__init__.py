"""FinTS: bank accounts that fetch themselves. Transport only; files go to `banking.formats`.

`conversation` has the steps, `steps` what they take and give, `answers` the errors, `banks` the
addresses, `rules` how often and from when. No database and no web; the caller seals what is kept.
"""

from __future__ import annotations

from server.banking.fints.answers import AccessLocked, NotConfirmed, WrongPin
from server.banking.fints.conversation import choose_method, confirm, fetch, start
from server.banking.fints.steps import (
    ChooseMethod,
    Connected,
    Credentials,
    Fetched,
    FetchedFile,
    FoundAccount,
    Method,
    NeedsTan,
    Picture,
    Refusal,
    Step,
)

__all__ = [
    "AccessLocked",
    "ChooseMethod",
    "Connected",
    "Credentials",
    "Fetched",
    "FetchedFile",
    "FoundAccount",
    "Method",
    "NeedsTan",
    "NotConfirmed",
    "Picture",
    "Refusal",
    "Step",
    "WrongPin",
    "choose_method",
    "confirm",
    "fetch",
    "start",
]
