"""What an agent remembers on disk: where the comparison stands, which orders to look at.

The list of orders to look at is the outbox: while the server is away it grows, and when the server
is back each order is fetched anew and pushed as it is then. So it holds ids only: nothing in it
grows old, and no customer's name lies about on the shop's disk.
"""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from plugin_sdk.errors import Misconfigured, Temporary

try:
    import fcntl
except ImportError:  # no file locks of this kind on Windows; two agents there are harmless but busy
    fcntl = None  # type: ignore[assignment]

MAX_WAITING = 10_000
MAX_PUSHED = 5_000
COMPACT_LINES = 1_000


def write_atomically(path: Path, text: str) -> None:
    """Replace a file so that a crash leaves the old or the new content, never a half one."""
    beside = path.with_name(path.name + ".new")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An order to look at. ``turn`` tells a hint from a later one for the same order."""

    external_id: str
    turn: int


class Outbox:
    """The orders to look at, oldest hint first; survives a crash once ``add`` has returned.

    An append-only file of additions and completions, rewritten when it has grown. Holds at most
    10,000 ids; when it would hold more, ``add`` says so and the caller compares everything instead.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._turn = 0
        self._woken = False
        self._waiting: OrderedDict[str, int] = OrderedDict()
        self._lines = 0
        self._read()
        self._file: IO[str] = self._compacted()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, external_ids: Sequence[str]) -> bool:
        """Remember, on disk, to look at these orders. False: the outbox is full."""
        with self._lock:
            new = [each for each in external_ids if each not in self._waiting]
            if len(self._waiting) + len(new) > MAX_WAITING:
                return False
            for each in external_ids:
                self._turn += 1
                self._waiting[each] = self._turn
            self._append([{"add": each} for each in external_ids], durable=True)
            self._changed.notify_all()
            return True

    def take(self, limit: int) -> list[Waiting]:
        """The oldest of what waits; it goes on waiting until ``done``."""
        with self._lock:
            return [Waiting(each, turn) for each, turn in list(self._waiting.items())[:limit]]

    def wait(self, seconds: float) -> None:
        """Sleep until something is added or woken, at most ``seconds``; at once if not empty."""
        with self._changed:
            if not self._waiting and not self._woken:
                self._changed.wait(seconds)
            self._woken = False

    def wake(self) -> None:
        """End ``wait``, also one that is only about to begin."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def done(self, looked_at: Sequence[Waiting]) -> None:
        """Forget orders that were looked at, except those hinted at again meanwhile."""
        with self._lock:
            ended = [each for each in looked_at if self._waiting.get(each.external_id) == each.turn]
            for each in ended:
                del self._waiting[each.external_id]
            # Not durable: what is looked at twice does no harm.
            self._append([{"done": each.external_id} for each in ended], durable=False)
            if self._lines > 2 * len(self._waiting) + COMPACT_LINES:
                self._file.close()
                self._file = self._compacted()

    def postpone(self, looked_at: Waiting) -> None:
        """Put an order that could not be looked at behind the others."""
        with self._lock:
            if looked_at.external_id in self._waiting:
                self._waiting.move_to_end(looked_at.external_id)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def _append(self, lines: Sequence[Mapping[str, str]], *, durable: bool) -> None:
        if self._file.closed:
            raise Temporary("The agent is stopping.")
        for line in lines:
            self._file.write(json.dumps(line) + "\n")
        self._lines += len(lines)
        self._file.flush()
        if durable:
            os.fsync(self._file.fileno())

    def _read(self) -> None:
        if not self._path.exists():
            return
        for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
                external_id = str(entry.get("add") or entry["done"])
            except (ValueError, KeyError, AttributeError):
                continue  # the last line of a crash, cut off; its webhook was not answered
            if "add" in entry:
                self._turn += 1
                self._waiting[external_id] = self._turn
            else:
                self._waiting.pop(external_id, None)

    def _compacted(self) -> IO[str]:
        lines = [json.dumps({"add": each}) + "\n" for each in self._waiting]
        write_atomically(self._path, "".join(lines))
        self._lines = len(lines)
        return self._path.open("a", encoding="utf-8")


class State:
    """The agent's directory. One agent at a time: a second one is refused."""

    def __init__(self, directory: Path) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = (directory / "lock").open("w")
        except OSError as error:
            raise Misconfigured(f"KONTOR_STATE: {error.strerror} ({directory}).") from None
        if fcntl is not None:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._lock.close()
                raise Misconfigured(f"Another agent is using {directory}.") from None
        self._place = directory / "place.json"
        self._pushed_file = directory / "pushed.json"
        self.outbox = Outbox(directory / "outbox.jsonl")
        place = _read_object(self._place)
        cursor = place.get("cursor")
        self.cursor: str | None = cursor if isinstance(cursor, str) else None
        self.compared_all_at = _number(place.get("compared_all_at"))
        self.compare_all_after_seconds = _number(place.get("compare_all_after_seconds"))
        self.comparing_all = bool(place.get("comparing_all", self.compared_all_at == 0))
        self.pushed: OrderedDict[str, str] = OrderedDict(
            (key, value)
            for key, value in _read_object(self._pushed_file).items()
            if isinstance(value, str)
        )

    def save(self) -> None:
        """Write down where the comparison stands and what was pushed."""
        if self._lock.closed:  # a thread that outlived the agent; the directory may be another's
            raise Temporary("The agent is stopping.")
        place = {
            "cursor": self.cursor,
            "comparing_all": self.comparing_all,
            "compared_all_at": self.compared_all_at,
            "compare_all_after_seconds": self.compare_all_after_seconds,
        }
        write_atomically(self._place, json.dumps(place))
        while len(self.pushed) > MAX_PUSHED:
            self.pushed.popitem(last=False)
        write_atomically(self._pushed_file, json.dumps(self.pushed))

    def close(self) -> None:
        """Give the directory back."""
        self.outbox.close()
        self._lock.close()


def _read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; nothing readable is nothing remembered, which only costs work."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
