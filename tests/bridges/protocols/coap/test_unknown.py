"""Options that nobody here knows, as an attribute."""

import pytest

from thinbridge.protocols.coap.codes import Option
from thinbridge.protocols.coap.unknown import MAX_COUNT, MAX_TEXT, is_unknown, is_unsafe, options, said


def test_what_is_said_is_read_again() -> None:
    text = None
    for number, value in ((2052, b""), (2048, b"\xff\1"), (2052, b"x")):
        text = said(text, number, value)
    assert text == "2052=,2048=ff01,2052=78"
    assert options(text) == [(2048, b"\xff\1"), (2052, b""), (2052, b"x")]


def test_what_is_too_long_is_left_out() -> None:
    assert said(None, 2048, bytes(126)) is None
    text = said(None, 2048, bytes(100))
    assert text is not None
    assert said(text, 2052, bytes(100)) == text
    assert said(text, 2052, b"") == f"{text},2052="
    assert len(text) <= MAX_TEXT
    many: str | None = None
    for number in range(2048, 2148, 4):
        many = said(many, number, b"")
    assert many is not None
    assert len(options(many)) == MAX_COUNT
    with pytest.raises(ValueError, match=r"options|hexadecimal"):
        options(f"{many},2148=")


@pytest.mark.parametrize(
    "text",
    ["", "x=00", "2048=0", "2048=zz", "-2=", "²=", "2049=", f"{Option.ETAG}=01", "65536=", "2048=" + "00" * 200],
)
def test_what_says_something_else(text: str) -> None:
    with pytest.raises(ValueError, match=r"options|hexadecimal"):
        options(text)


def test_which_are_known_and_which_are_safe() -> None:
    assert [number for number in (*range(70), 252, 258, 292) if not is_unknown(number)] == [
        *(1, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 20, 23, 27, 28, 35, 39, 60, 252, 258, 292),
    ]
    assert [is_unsafe(number) for number in (Option.MAX_AGE, Option.ETAG, 2048, 2050)] == [True, False, False, True]
