"""TD_COAP_BLOCK of ETSI's CoAP#4 plugtest: bodies in blocks (RFC 7959), down, up, and both in one exchange."""

from itertools import count

import pytest
from tests.interop.plugtest.function.main import LARGE
from tests.interop.plugtest.wire import Device, block, follows, number, said, said_block, values

from thinbridge.protocols.coap.codec import Message
from thinbridge.protocols.coap.codes import Option, dotted

TEXT = 0
BODY = LARGE.encode()
_COUNTED = count(1)


def body(length: int = 3000) -> bytes:
    """Text that nobody has sent yet."""
    text = f"{next(_COUNTED)}: " + "the quick brown fox jumps over the lazy dog, "
    return (text * (length // len(text) + 1))[:length].encode()


def first_block(response: Message, size: int) -> None:
    """Assert that it is the first of several, full, and no larger than asked for."""
    one = said_block(response, Option.BLOCK2)
    assert one is not None
    assert (dotted(response.code), one.num, one.more) == ("2.05", 0, True)
    assert len(response.payload) == one.size <= size
    assert number(response, Option.CONTENT_FORMAT) == TEXT


@pytest.mark.parametrize("size", [1024, 512, 64])
def test_block_01(device: Device, size: int) -> None:
    """GET of a large resource; the client asks for a block size first (early negotiation)."""
    first = device.ask("GET", "/large", (Option.BLOCK2, block(0, False, size)))
    first_block(first, size)
    assert len(first.payload) == size
    assert device.fetch("/large", size, first=first).payload == BODY


def test_block_02(device: Device) -> None:
    """GET of a large resource; the server begins with blocks (late negotiation), the client may want smaller ones."""
    first = device.ask("GET", "/large")
    first_block(first, 1024)
    assert device.fetch("/large", first=first).payload == BODY
    first = device.ask("GET", "/large")
    at = len(first.payload)
    second = device.ask("GET", "/large", (Option.BLOCK2, block(at // 64, False, 64)))
    follows(first, second, at)
    assert second.payload == BODY[at : at + 64]


@pytest.mark.parametrize("size", [1024, 64])
def test_block_03(device: Device, size: int) -> None:
    """PUT of a large resource."""
    sent = body()
    assert dotted(device.upload("PUT", "/large-update", sent, size).code) == "2.04"
    assert device.fetch("/large-update").payload == sent


def test_block_04(device: Device) -> None:
    """POST of a large body creates a resource."""
    sent = body()
    created = device.upload("POST", "/large-create", sent, 512)
    assert dotted(created.code) == "2.01"
    path = values(created, Option.LOCATION_PATH)
    assert path[0] == "large-create"
    assert len(path) == 2
    assert device.fetch("/" + "/".join(path)).payload == sent


def test_block_05(device: Device) -> None:
    """POST of a large body with a large response: blocks up, then blocks down, in one exchange."""
    sent = body()
    first = device.upload("POST", "/large-post", sent, 256)
    assert dotted(first.code) == "2.04"
    received = bytearray(first.payload)
    one = said_block(first, Option.BLOCK2)
    assert one is not None
    assert one.num == 0
    while one.more:
        later = (Option.BLOCK2, block(len(received) // one.size, False, one.size))
        response = device.ask("POST", "/large-post", later, format=TEXT)
        follows(first, response, len(received))
        received += response.payload
        one = said_block(response, Option.BLOCK2)
        assert one is not None
    assert bytes(received) == sent.upper()


def test_block_06(device: Device) -> None:
    """GET of a large resource in blocks of 16 bytes."""
    first = device.ask("GET", "/large", (Option.BLOCK2, block(0, False, 16)))
    first_block(first, 16)
    assert device.fetch("/large", 16, first=first).payload == BODY


def test_a_block_out_of_nowhere(device: Device) -> None:
    """Random access: block 5 of 64 bytes, and nothing else."""
    response = device.ask("GET", "/large", (Option.BLOCK2, block(5, False, 64)))
    assert response.payload == BODY[320:384]
    assert said(device.ask("GET", "/large", (Option.BLOCK2, block(500, False, 64))))[0] == "4.00"


def test_a_large_separate_response(early: Device) -> None:
    """The first block comes in a separate response; the others are asked for as usual."""
    request = early.request("GET", "/large-separate")
    early.send(request)
    assert early.hear().token == b""
    first = early.hear()
    assert first.token == request.token
    early.acknowledge(first)
    first_block(first, 1024)
    second = early.ask("GET", "/large-separate", (Option.BLOCK2, block(1, False, 1024)))
    follows(first, second, 1024)
    assert first.payload + second.payload == BODY[:2048]


def test_how_large_it_is(device: Device) -> None:
    """Size2 is said where it is asked for (RFC 7959 §4)."""
    response = device.ask("GET", "/large", (Option.SIZE2, b""), (Option.BLOCK2, block(0, False, 64)))
    assert number(response, Option.SIZE2) == len(BODY)
