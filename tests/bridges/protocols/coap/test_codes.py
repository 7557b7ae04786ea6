"""CoAP's numbers."""

from thinbridge.protocols.coap.codes import CONTENT, LENGTHS, RESPONSES, STATUS, code, dotted


def test_codes_as_people_write_them() -> None:
    assert (code("2.05"), dotted(69), CONTENT) == (69, "2.05", 69)
    assert all(dotted(number) == text and code(text) == number for text, number in RESPONSES.items())
    assert set(STATUS.values()) <= set(RESPONSES.values())


def test_every_length_is_a_range() -> None:
    assert all(0 <= low <= high for low, high in LENGTHS.values())
