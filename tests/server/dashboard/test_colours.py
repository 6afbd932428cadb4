"""Contrast, read off tokens.css: WCAG 2.2 AA in both themes (1.4.3, 1.4.11)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TOKENS = Path(__file__).parents[3] / "server" / "dashboard" / "static" / "tokens.css"
_TOKEN = re.compile(r"--([a-z0-9-]+):\s*light-dark\((#[0-9a-f]{6}),\s*(#[0-9a-f]{6})\)")
TEXT_MIN, CONTROL_MIN = 4.5, 3.0
SURFACES = ("page", "side", "sunk", "raise")


def _colours(theme: int) -> dict[str, str]:
    found = {name: pair[theme] for name, *pair in _TOKEN.findall(TOKENS.read_text("utf-8"))}
    assert len(found) > 20
    return found


def _luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_measure_itself():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("surface", [*SURFACES, "accent-soft"])
@pytest.mark.parametrize("text", ["ink", "ink-2", "ink-3", "accent", "accent-hover"])
def test_text_on_every_surface(theme, surface, text):
    colours = _colours(theme)
    assert contrast(colours[text], colours[surface]) >= TEXT_MIN


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("status", ["ok", "warn", "bad"])
def test_status_on_its_tint_and_on_the_page(theme, status):
    colours = _colours(theme)
    assert contrast(colours[status], colours[f"{status}-soft"]) >= TEXT_MIN
    assert contrast(colours[status], colours["page"]) >= TEXT_MIN
    assert contrast(colours["ink"], colours[f"{status}-soft"]) >= TEXT_MIN


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_buttons_marks_and_controls(theme):
    colours = _colours(theme)
    assert contrast(colours["on-accent"], colours["accent"]) >= TEXT_MIN
    assert contrast(colours["ink"], colours["mark"]) >= TEXT_MIN
    for surface in SURFACES:
        assert contrast(colours["edge"], colours[surface]) >= CONTROL_MIN
        assert contrast(colours["accent"], colours[surface]) >= CONTROL_MIN
        assert contrast(colours["back"], colours[surface]) >= CONTROL_MIN


def test_no_colour_is_written_anywhere_else():
    sheet = (TOKENS.parent / "app.css").read_text("utf-8")
    allowed = {"#fff", "#0d0e1166"}  # paper of a mail and of a code; behind dialogs
    assert set(re.findall(r"#[0-9a-f]{3,8}\b", sheet)) <= allowed
