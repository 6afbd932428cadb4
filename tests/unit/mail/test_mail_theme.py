"""Any colour a merchant picks gives a mail that can be read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.mail.build import TONES
from server.mail.theme import DARK_CARD, WHITE, Theme, contrast, palette

colours = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")


@pytest.mark.feature("S3")
@given(colours, colours, colours, colours)
def test_every_pair_is_readable(primary: str, text: str, header: str, header_text: str) -> None:
    made = palette(
        Theme(primary=primary, text=text, header_background=header, header_text=header_text)
    )
    assert contrast(made["text"], WHITE) >= 7
    assert contrast(made["text"], made["tint"]) >= 4.5
    assert contrast(made["link"], WHITE) >= 4.5
    assert contrast(made["on_primary"], made["primary"]) >= 4.5
    assert contrast(made["edge"], WHITE) >= 3
    assert contrast(made["dark_link"], DARK_CARD) >= 6
    assert contrast(made["on_dark_link"], made["dark_link"]) >= 4.5
    assert contrast(made["header_text"], made["header_background"]) >= 4.5


def test_tones_are_readable_in_both_editions() -> None:
    for light, dark in TONES.values():
        assert contrast(light, WHITE) >= 4.5
        assert contrast(dark, DARK_CARD) >= 4.5


def test_contrast_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"primary": "red"}, "primary"),
        ({"text": "#12345"}, "text"),
        ({"header_text": "#12345g"}, "header_text"),
        ({"header_background": "#fff;}"}, "header_background"),
        ({"font": "Comic Sans"}, "font"),
        ({"header_image": "http://shop.example.org/x.png"}, "header_image"),
        ({"header_image": 'https://shop.example.org/"><script>'}, "header_image"),
        ({"header_height_pixels": 0}, "header_height_pixels"),
        ({"header_height_pixels": 301}, "header_height_pixels"),
    ],
)
def test_a_wrong_theme_names_its_field(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Theme(**change)
