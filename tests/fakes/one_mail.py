"""One mail from its row to a server and back, without the lanes and the threads of ``Rounds``."""

from __future__ import annotations

from typing import Protocol

from server.mail.delivery import Desk, note_failure, note_success, settle_message_ids, write_letter
from server.mail.models import Mail
from server.mail.smtp import NotEver, NotNow, NotSetUp


class Courier(Protocol):
    """Whoever hands letters over, such as an ``SmtpSession``; ``host`` is the server's name."""

    @property
    def host(self) -> str: ...

    def send(self, sender: str, recipient: str, raw: bytes) -> str: ...


def deliver_mail(mail: Mail, desk: Desk, courier: Courier) -> None:
    """Raises NotEver, NotNow, MayHaveArrived and NotSetUp, after ``mail.failure`` was set."""
    settle_message_ids([mail], desk)
    try:
        letter = write_letter(mail, desk)
    except (NotNow, NotEver, NotSetUp) as problem:
        note_failure(mail, problem)
        raise
    try:
        answer = courier.send(letter.sender, letter.recipient, letter.raw)
    except (NotNow, NotEver, NotSetUp) as problem:
        note_failure(mail, problem, letter)
        raise
    note_success(mail, letter, answer, courier.host)
