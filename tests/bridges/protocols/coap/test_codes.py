"""CoAP's numbers."""

import pytest

from thinbridge.protocols.coap.codes import (
    CONTENT,
    CONTENT_FORMATS,
    LENGTHS,
    MEDIA_TYPES,
    RESPONSES,
    STATUS,
    code,
    content_format,
    dotted,
)


def test_codes_as_people_write_them() -> None:
    assert (code("2.05"), dotted(69), CONTENT) == (69, "2.05", 69)
    assert all(dotted(number) == text and code(text) == number for text, number in RESPONSES.items())
    assert set(STATUS.values()) <= set(RESPONSES.values())


@pytest.mark.parametrize(
    ("media_type", "number"),
    [
        (None, None),
        ("", None),
        ("application/json", 50),
        ("Application/JSON ; charset=utf-8", 50),
        ("application/cbor", 60),
        ("text/plain", 0),
        ("text/plain;charset=utf-8", 0),
        ("text/plain; charset=UTF-8", 0),
        ('text/plain; charset="utf-8"', 0),
        ("text/plain; charset=iso-8859-1", None),
        ("application/yang-data+cbor; id=sid", 140),
        ("image/x-unheard-of", None),
    ],
)
def test_the_content_format_of_a_header(media_type: str | None, number: int | None) -> None:
    assert content_format(media_type) == number


def test_every_number_has_its_media_type() -> None:
    assert all(CONTENT_FORMATS[media_type] == number for number, media_type in MEDIA_TYPES.items())
    assert all(0 <= low <= high for low, high in LENGTHS.values())
