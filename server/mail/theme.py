"""Colours and font of a mail, derived from the few that a merchant chooses per shop.

A file of its own because the settings page needs it without any mail: it shows the same derived
colours in its preview, and refuses what this module refuses.

Every pair of text and background is brought to the contrast of WCAG 2.1 AA (1.4.3), whatever
colour a merchant picks, in the light and in the dark edition.
"""

from __future__ import annotations

import colorsys
import re
from dataclasses import dataclass
from functools import lru_cache

FONTS = {
    "system": "-apple-system, BlinkMacSystemFont, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif",
    "arial": "Arial, Helvetica, sans-serif",
    "verdana": "Verdana, Geneva, sans-serif",
    "georgia": "Georgia, 'Times New Roman', serif",
}
MAX_URL_LENGTH = 1000
HEADER_WIDTH_PIXELS = 600
MAX_HEADER_HEIGHT_PIXELS = 300
TEXT_CONTRAST = 4.5
SHAPE_CONTRAST = 3.0
DARK_CARD = "#1b1e22"
WHITE, INK, BLACK = "#ffffff", "#16181b", "#000000"

_COLOUR = re.compile(r"#[0-9a-f]{6}")
# A trial on one machine has no TLS, and nobody between it and its own mail program.
_PICTURE_ADDRESS = re.compile(
    r"(?:https://|http://(?:127\.0\.0\.1|localhost)(?::\d{1,5})?/)[!-;=?-~]+"
)


@dataclass(frozen=True, slots=True)
class Theme:
    """What a merchant sets under "Colours and styles"; raises ValueError naming the field.

    Colours are ``#rrggbb``; ``font`` is a key of FONTS (a mail loads no font). ``header_image``
    is an https address (or one of this very machine) or empty, shown ``HEADER_WIDTH_PIXELS`` wide
    and ``header_height_pixels`` high.
    """

    primary: str = "#1d5b79"
    text: str = "#23272b"
    header_background: str = "#17455c"
    header_text: str = "#ffffff"
    font: str = "system"
    header_image: str = ""
    header_height_pixels: int = 120

    def __post_init__(self) -> None:
        for name in ("primary", "text", "header_background", "header_text"):
            colour = str(getattr(self, name)).lower()
            if not _COLOUR.fullmatch(colour):
                raise ValueError(f"{name} must be a colour such as #1d5b79, not {colour!r}")
            object.__setattr__(self, name, colour)
        if self.font not in FONTS:
            raise ValueError(f"font must be one of {', '.join(FONTS)}, not {self.font!r}")
        image = self.header_image
        if image and (len(image) > MAX_URL_LENGTH or not _PICTURE_ADDRESS.fullmatch(image)):
            raise ValueError("header_image must be an https address")
        if not 0 < self.header_height_pixels <= MAX_HEADER_HEIGHT_PIXELS:
            raise ValueError(f"header_height_pixels must be 1 to {MAX_HEADER_HEIGHT_PIXELS}")


KONTOR = Theme(primary="#0f5f57", header_background="#0c4a44", header_text="#ffffff")
"""For mails to merchants: they come from Kontor, not from a shop."""


@lru_cache(maxsize=1024)
def palette(theme: Theme) -> dict[str, str]:
    """All colours of a mail by name, each ``#rrggbb``, and ``font``, a CSS font-family list.

    >>> palette(Theme(primary="#ffd400"))["on_primary"]
    '#16181b'
    """
    link = shade(theme.primary, WHITE, TEXT_CONTRAST)
    dark_link = shade(theme.primary, DARK_CARD, 6.0)
    return {
        "primary": theme.primary,
        "on_primary": _label_on(theme.primary),
        "edge": shade(theme.primary, WHITE, SHAPE_CONTRAST),
        "link": link,
        "text": shade(theme.text, WHITE, 7.0),
        "page": mix(theme.primary, "#f4f4f2", 0.04),
        "tint": mix(theme.primary, WHITE, 0.05),
        "line": mix(link, WHITE, 0.16),
        "cut": mix(link, WHITE, 0.42),
        "header_background": theme.header_background,
        "header_text": shade(theme.header_text, theme.header_background, TEXT_CONTRAST),
        "dark_link": dark_link,
        "on_dark_link": _label_on(dark_link),
        "font": FONTS[theme.font],
    }


def _label_on(background: str) -> str:
    """White or ink; on the few middle colours where neither reads, black does (at least 4.58)."""
    readable = (ink for ink in (WHITE, INK) if contrast(ink, background) >= TEXT_CONTRAST)
    return next(readable, BLACK)


def shade(colour: str, background: str, ratio: float) -> str:
    """The colour, darkened or lightened no further than this contrast to the background needs."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*_parts(colour))
    end = max((0.0, 1.0), key=lambda grey: contrast(_code(grey, grey, grey), background))
    for step in range(51):
        target = lightness + (end - lightness) * step / 50
        candidate = _code(*colorsys.hls_to_rgb(hue, target, saturation))
        if contrast(candidate, background) >= ratio:
            return candidate
    return _code(end, end, end)


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, 1.0 to 21.0 (WCAG 2.1, definition of contrast ratio)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mix(colour: str, base: str, share: float) -> str:
    pairs = zip(_parts(colour), _parts(base), strict=True)
    red, green, blue = (share * part + (1 - share) * under for part, under in pairs)
    return _code(red, green, blue)


def _luminance(colour: str) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in _parts(colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _parts(colour: str) -> tuple[float, float, float]:
    red, green, blue = bytes.fromhex(colour[1:])
    return red / 255, green / 255, blue / 255


def _code(red: float, green: float, blue: float) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in (red, green, blue))
