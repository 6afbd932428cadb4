"""`kontor listen`: only the webhook receiver, to see whether the shop's webhooks arrive."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

from plugin_sdk.connector import Connector
from plugin_sdk.errors import Misconfigured, Rejected
from plugin_sdk.receiver import Receiver


def listen(
    connector: Connector[Any],
    address: tuple[str, int],
    *,
    stop: threading.Event,
    count: int | None,
    tell: Callable[[str], None],
    say: Callable[[str], None],
) -> int:
    """Print one JSON object for each genuine webhook until ``stop`` is set or ``count`` came.

    Returns how many were refused. Their bodies are shown to nobody. Raises Misconfigured when the
    address cannot be listened on.
    """
    if not connector.is_told:
        raise Misconfigured("This shop cannot tell anything as it is set up: see `kontor check`.")
    refused = 0
    heard = 0
    lock = threading.Lock()

    def receive(headers: Mapping[str, str], body: bytes) -> None:
        nonlocal refused, heard
        with lock:
            try:
                hint = connector.read_webhook(headers, body)
            except Rejected as error:
                refused += 1
                say(f"refused: {error}")
                raise
            if hint is None:
                say("genuine, but nothing to look at")
                return
            tell(json.dumps({"topic": hint.topic, "ids": list(hint.ids)}, ensure_ascii=False))
            heard += 1
            if count is not None and heard >= count:
                stop.set()

    try:
        receiver = Receiver(*address, receive)
    except OSError as error:
        raise Misconfigured(f"It cannot be listened there: {error.strerror}.") from None
    receiver.start()
    host, port = receiver.address
    say(f"listening http://{host}:{port}/")
    while not stop.wait(60):
        pass
    receiver.stop()
    return refused
