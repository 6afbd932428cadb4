"""Pages for customers: what is still to be paid, "I have paid" (S61), the links of a mail's foot.

A door without a log-in: the signed link of a mail opens one order and says nothing that the mail
did not say. Pages need no JavaScript and load nothing from elsewhere. It has words and looks of
its own, because a customer is no user of the dashboard.
"""

from __future__ import annotations

from flask import Flask

from server.customer import (  # noqa: F401  the forms of ``answers`` belong to the door of ``pages``
    answers,
    choices,
    looks,
    pages,
    pictures,
    relay_help,
)


def register(app: Flask) -> None:
    """Needs ``SETTINGS`` and what ``visitors`` registers."""
    app.register_blueprint(pages.door)
    app.register_blueprint(choices.door)
    app.register_blueprint(pictures.door)
    app.register_blueprint(looks.door)
    app.register_blueprint(relay_help.door)
