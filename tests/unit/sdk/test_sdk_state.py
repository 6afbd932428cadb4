"""What the agent keeps on disk survives whatever happens to the file."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugin_sdk import state
from plugin_sdk.errors import Misconfigured, Temporary
from plugin_sdk.state import Outbox, State


def waiting(outbox):
    return [each.external_id for each in outbox.take(100)]


def reopened(outbox, path):
    outbox.close()
    return Outbox(path)


def test_what_was_added_is_there_after_a_crash(tmp_path):
    path = tmp_path / "outbox"
    outbox = Outbox(path)
    outbox.add(["1", "2", "ä\n"])
    again = Outbox(path)  # without closing the first one
    assert waiting(again) == ["1", "2", "ä\n"]
    outbox.close()
    again.close()


def test_a_half_written_line_is_forgotten(tmp_path):
    path = tmp_path / "outbox"
    path.write_text('{"add": "1"}\n{"add": "2"}\n{"ad')
    outbox = Outbox(path)
    assert waiting(outbox) == ["1", "2"]
    outbox.add(["3"])
    outbox = reopened(outbox, path)
    assert waiting(outbox) == ["1", "2", "3"]
    outbox.close()


def test_a_hint_during_the_look_is_not_lost(tmp_path):
    outbox = Outbox(tmp_path / "outbox")
    outbox.add(["1", "2"])
    taken = outbox.take(10)
    outbox.add(["1"])
    outbox.done(taken)
    assert waiting(outbox) == ["1"]
    outbox.close()


def test_a_full_outbox_says_so_and_keeps_what_it_has(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "MAX_WAITING", 3)
    outbox = Outbox(tmp_path / "outbox")
    assert outbox.add(["1", "2", "3"])
    assert not outbox.add(["4"])
    assert outbox.add(["1"]), "what waits already takes no room"
    assert sorted(waiting(outbox)) == ["1", "2", "3"]
    outbox.close()


def test_the_file_does_not_grow_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "COMPACT_LINES", 10)
    path = tmp_path / "outbox"
    outbox = Outbox(path)
    for number in range(500):
        outbox.add([str(number)])
        outbox.done(outbox.take(1))
    assert len(path.read_text().splitlines()) < 20
    outbox.close()


def test_a_closed_outbox_takes_nothing(tmp_path):
    outbox = Outbox(tmp_path / "outbox")
    outbox.close()
    with pytest.raises(Temporary):
        outbox.add(["1"])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["add", "done", "later"]), st.sampled_from("abcd"))))
def test_disk_and_memory_agree(tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("outbox") / "outbox"
    outbox = Outbox(path)
    for step, key in steps:
        if step == "add":
            outbox.add([key])
        else:
            taken = [each for each in outbox.take(100) if each.external_id == key]
            if step == "done":
                outbox.done(taken)
            for each in taken if step == "later" else ():
                outbox.postpone(each)
    before = sorted(waiting(outbox))
    outbox = reopened(outbox, path)
    assert sorted(waiting(outbox)) == before
    outbox.close()


def test_state_comes_back(tmp_path):
    first = State(tmp_path)
    assert (first.cursor, first.comparing_all) == (None, True)
    first.cursor, first.comparing_all, first.compared_all_at = "c", False, 5.0
    first.pushed["1"] = "mark"
    first.save()
    first.close()
    again = State(tmp_path)
    assert (again.cursor, again.comparing_all, again.compared_all_at) == ("c", False, 5.0)
    assert dict(again.pushed) == {"1": "mark"}
    again.close()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cursor": 5, "compared_all_at": []}', "null"])
def test_an_unreadable_state_begins_anew(tmp_path, text):
    (tmp_path / "place.json").write_text(text)
    (tmp_path / "pushed.json").write_text(text)
    found = State(tmp_path)
    assert (found.cursor, found.comparing_all, dict(found.pushed)) == (None, True, {})
    found.close()


def test_what_was_pushed_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "MAX_PUSHED", 2)
    found = State(tmp_path)
    found.pushed |= {"1": "a", "2": "b", "3": "c"}
    found.save()
    assert json.loads((tmp_path / "pushed.json").read_text()) == {"2": "b", "3": "c"}
    found.close()


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match="KONTOR_STATE"):
        State(tmp_path / "file" / "state")
