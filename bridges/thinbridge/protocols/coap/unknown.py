"""Options that nobody here knows, as an attribute: `2048=ff01,2050=`. From devices to functions and servers, and back.

`request` and `response` read and write it, and `delivery.coap`, since a proxy hands on what it does not know (RFC 7252
§5.7.1). Elective ones only: those that are critical are refused where they are met.
"""

from typing import Final

from thinbridge.protocols.coap.codec import OptionValue
from thinbridge.protocols.coap.codes import LENGTHS

MAX_TEXT: Final = 256
"""Characters of the attribute, which may be a header. What is more is left out."""
MAX_COUNT: Final = 8
"""Options in it, which come on top of all others in a message."""


def is_unknown(number: int) -> bool:
    """Whether an option, which its number says that it may be, means nothing here."""
    return number not in LENGTHS and number < 1 << 16


def is_unsafe(number: int) -> bool:
    """Whether a proxy that does not know it must not hand it on (RFC 7252 §5.4.2)."""
    return bool(number & 2)


def said(before: str | None, number: int, value: bytes) -> str | None:
    """The attribute with one option more, if there is room for it."""
    text = f"{number}={value.hex()}" if before is None else f"{before},{number}={value.hex()}"
    return text if len(text) <= MAX_TEXT and text.count(",") < MAX_COUNT else before


def options(text: str) -> list[OptionValue]:
    """The options that an attribute says, in the order of their numbers.

    Raises:
        ValueError: it says something else.
    """
    if len(text) > MAX_TEXT or text.count(",") >= MAX_COUNT:
        raise ValueError("too many options")
    found = []
    for one in text.split(","):
        number, _, value = one.partition("=")
        if not (number.isascii() and number.isdigit()) or not is_unknown(int(number)) or int(number) & 1:
            raise ValueError("no elective options that are unknown")
        found.append((int(number), bytes.fromhex(value)))
    return sorted(found, key=lambda option: option[0])
