"""The judge of datagrams finds what no server may send."""

import pytest
from tests.interop.plugtest.strict import judge

from thinbridge.errors import DecodeError
from thinbridge.protocols.coap.codec import Message, OptionValue, encode, uint
from thinbridge.protocols.coap.codes import CONTENT, EMPTY, VALID, Option, Type


def response(*options: OptionValue, code: int = CONTENT, type: int = Type.ACK, payload: bytes = b"x") -> bytes:
    return encode(Message(type, code, 1, b"t", options, payload))


@pytest.mark.parametrize(
    "data",
    [
        response(),
        response((Option.ETAG, b"e"), (Option.CONTENT_FORMAT, b""), (Option.MAX_AGE, b"\x3c")),
        response((Option.ETAG, b"e"), code=VALID, payload=b""),
        encode(Message(Type.ACK, EMPTY, 1)),
        encode(Message(Type.RST, EMPTY, 1)),
    ],
)
def test_what_is_right(data: bytes) -> None:
    assert judge(data).mid == 1


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (encode(Message(Type.CON, EMPTY, 1)), "ping"),
        (response(type=Type.RST), "RST"),
        (response(code=0x5E), "2.30"),
        (response((Option.URI_PATH, b"a")), "none of a response"),
        (response((Option.ETAG, b"123456789")), "option 4 of 9 bytes"),
        (response((Option.ETAG, b"1"), (Option.ETAG, b"2")), "there twice"),
        (response((Option.CONTENT_FORMAT, b"\0")), "leading zeros"),
        (response((Option.CONTENT_FORMAT, b""), payload=b""), "a Content-Format of nothing"),
        (response((Option.ETAG, b"e"), code=VALID), "2.03 with a payload"),
        (response(code=VALID, payload=b""), "2.03 without an ETag"),
        (response((Option.BLOCK2, uint(0x08)), payload=b"not 16"), "full"),
        (response((Option.BLOCK2, uint(0x07))), "block size"),
        (response((Option.LOCATION_PATH, b"..")), "dot segment"),
        (response(payload=bytes(1200)), "1206 bytes"),
        (bytes.fromhex("614500017444ff78"), "truncated"),
    ],
)
def test_what_is_wrong(data: bytes, why: str) -> None:
    with pytest.raises((AssertionError, DecodeError), match=why):
        judge(data)


def test_a_diagnostic_payload_that_is_no_text() -> None:
    with pytest.raises(UnicodeDecodeError):
        judge(response(code=0x80, payload=b"\xff"))
