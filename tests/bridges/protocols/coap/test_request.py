"""What a request says."""

import pytest
from tests.bridges.protocols.coap.bench import ask

from thinbridge.protocols.coap.blockwise import Block
from thinbridge.protocols.coap.codec import OptionValue, uint
from thinbridge.protocols.coap.codes import Option, dotted
from thinbridge.protocols.coap.request import Refused, Request, read


def asked(*options: OptionValue, code: int = 2) -> Request:
    return read(ask(1, *options, code=code), "192.0.2.7:40000")


def path(*segments: bytes) -> list[OptionValue]:
    return [(Option.URI_PATH, segment) for segment in segments]


@pytest.mark.parametrize(
    ("segments", "subject"),
    [
        ((), None),
        ((b"",), None),
        ((b"sensors", b"7"), "sensors/7"),
        ((b"a", b""), "a/"),
        ((b"", b"a"), "/a"),
        ((b"...", b".a", b"%2e%2e"), ".../.a/%252e%252e"),
        ((b"a b",), "a b"),
        ((b"a/b", b"50%"), "a%2Fb/50%25"),
        (("grün".encode(),), "grün"),
        ((b"\xff\xc3",), "%FF%C3"),
        ((b"a\r\nb\x00\x7f",), "a%0D%0Ab%00%7F"),
        (("\u0085\ufffe\ufdd0\U0001ffff".encode(),), "%C2%85%EF%BF%BE%EF%B7%90%F0%9F%BF%BF"),
        ((b"\xed\xa0\x80",), "%ED%A0%80"),
        ((b"x" * 255,), "x" * 255),
    ],
)
def test_the_path_is_the_subject(segments: tuple[bytes, ...], subject: str | None) -> None:
    assert asked(*path(*segments)).subject == subject


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ((b"unit=C",), "unit=C"),
        ((b"a=1", b"b=/"), "a=1&b=/"),
        ((b"a=1&b", b"50%"), "a=1%26b&50%25"),
        ((b"\xff\n",), "%FF%0A"),
    ],
)
def test_the_query(arguments: tuple[bytes, ...], query: str) -> None:
    options = [(Option.URI_QUERY, argument) for argument in arguments]
    assert asked(*options).attributes["coapquery"] == query


@pytest.mark.parametrize(
    ("options", "attributes"),
    [
        ([(Option.CONTENT_FORMAT, b"\x32")], {"coapformat": "50"}),
        ([(Option.CONTENT_FORMAT, b"\x32"), (Option.CONTENT_FORMAT, b"\x3c")], {"coapformat": "50"}),
        ([(Option.CONTENT_FORMAT, b"\0\0\x32")], {}),
        ([(Option.CONTENT_FORMAT, b"\xff\xff")], {"coapformat": "65535"}),
        ([(Option.ACCEPT, b"\x32")], {"coapacceptformat": "50", "coapaccept": "application/json"}),
        ([(Option.ACCEPT, b"\xff\xff")], {"coapacceptformat": "65535"}),
        ([(Option.IF_MATCH, b"\1\2"), (Option.IF_MATCH, b""), (Option.IF_MATCH, b"\xff")], {"coapifmatch": "0102,,ff"}),
        ([(Option.IF_NONE_MATCH, b"")], {"coapifnonematch": "true"}),
        ([(Option.ETAG, b"\1")], {}),
        ([(Option.ETAG, bytes(9))], {}),
        ([(Option.OBSERVE, b"")], {}),
        (
            [(Option.URI_HOST, b"Example.org"), (Option.URI_PORT, uint(5683)), (Option.ECHO, b"123")],
            {"coaphost": "example.org", "coapport": "5683"},
        ),
        ([(Option.URI_HOST, b"a%\r\n\xff")], {"coaphost": "a%25%0d%0a%ff"}),
        ([(Option.URI_PORT, b"")], {"coapport": "0"}),
        ([(Option.HOP_LIMIT, b"\x10")], {"coaphoplimit": "16"}),
        ([(Option.HOP_LIMIT, b"\1"), (Option.HOP_LIMIT, b"\0")], {"coaphoplimit": "1"}),
        ([(Option.HOP_LIMIT, b"\0\xff")], {"coaphoplimit": "255"}),
        ([(2048, b"unheard of"), (2050, b"")], {"coapoptions": "2048=756e6865617264206f66,2050="}),
        ([(Option.LOCATION_PATH, b"of a response"), (Option.PARTIAL_IV, b"1"), (2048, bytes(500))], {}),
        ([(Option.SIZE1, bytes(5))], {}),
    ],
)
def test_options_become_attributes(options: list[OptionValue], attributes: dict[str, str]) -> None:
    assert asked(*options).attributes == {"coapmethod": "POST", "peer": "192.0.2.7:40000", **attributes}


def test_the_media_type() -> None:
    assert asked((Option.CONTENT_FORMAT, b"\x3c")).content_type == "application/cbor"
    assert asked((Option.CONTENT_FORMAT, b"")).content_type == "text/plain;charset=utf-8"
    assert asked((Option.CONTENT_FORMAT, b"\xff\xff")).content_type is None
    assert asked().content_type is None


@pytest.mark.parametrize(("code", "register"), [(1, True), (5, True), (2, False)])
def test_observe_registers_with_get_and_fetch_only(code: int, register: bool) -> None:
    assert ("coapobserve" in asked((Option.OBSERVE, b""), code=code).attributes) is register
    assert "coapobserve" not in asked((Option.OBSERVE, b"\1"), code=code).attributes


def test_what_the_response_must_know() -> None:
    request = asked((Option.ETAG, b"\1"), (Option.ETAG, b"\2\2"), (Option.NO_RESPONSE, b"\x1a"))
    assert (request.etags, request.no_response, request.block1, request.block2) == ([b"\1", b"\2\2"], 26, None, None)
    assert (request.size1, request.size2) == (None, False)


def test_blocks() -> None:
    request = asked((Option.BLOCK2, b"\2"), (Option.BLOCK1, b"\x1e"), (Option.SIZE2, b""), (Option.SIZE1, b"\x10\0"))
    assert (request.block1, request.block2) == (Block(1, True, 6), Block(0, False, 2))
    assert (request.size1, request.size2) == (4096, True)
    assert "coaprange" not in request.attributes


def test_a_later_block_is_a_range_and_registers_nothing() -> None:
    request = asked((Option.OBSERVE, b""), (Option.BLOCK2, b"\x32"), code=1)
    assert request.attributes["coaprange"] == "bytes=192-255"
    assert "coapobserve" not in request.attributes


@pytest.mark.parametrize(
    ("options", "code", "counter"),
    [
        ([(9, b"critical and unheard of")], "4.02", "bad_option"),
        ([(Option.URI_PATH, bytes(256))], "4.02", "bad_option"),
        ([(Option.URI_QUERY, bytes(256))], "4.02", "bad_option"),
        ([(Option.URI_HOST, b"")], "4.02", "bad_option"),
        ([(Option.URI_PORT, b"\1"), (Option.URI_PORT, b"\1")], "4.02", "bad_option"),
        ([(Option.ACCEPT, b"\0\0\0")], "4.02", "bad_option"),
        ([(Option.HOP_LIMIT, b"\0")], "4.00", "hop_limit"),
        ([(Option.HOP_LIMIT, b"")], "4.00", "hop_limit"),
        ([(Option.HOP_LIMIT, b"\1\0")], "4.00", "hop_limit"),
        ([(Option.URI_PATH, b"a"), (Option.URI_PATH, b"..")], "4.00", "dot_segment"),
        ([(Option.URI_PATH, b"."), (Option.URI_PATH, b"a")], "4.00", "dot_segment"),
        ([(Option.PROXY_URI, b"coap://elsewhere/")], "5.05", "proxy"),
        (
            [(Option.URI_PATH, b"a"), (Option.PROXY_URI, b"coap://elsewhere/"), (Option.PROXY_SCHEME, b"coap")],
            "5.05",
            "proxy",
        ),
        ([(Option.PROXY_SCHEME, b"http")], "5.05", "proxy"),
        ([(Option.BLOCK1, b"\x07")], "4.00", "block"),
        ([(Option.BLOCK2, b"\x07")], "4.00", "block"),
        ([(Option.BLOCK2, b"\x16"), (Option.BLOCK1, b"\x0e")], "4.00", "block"),
    ],
)
def test_what_is_refused(options: list[OptionValue], code: str, counter: str) -> None:
    with pytest.raises(Refused) as refused:
        asked(*options)
    assert (dotted(refused.value.response[0]), refused.value.counter) == (code, counter)


def test_a_method_that_is_unheard_of() -> None:
    with pytest.raises(Refused) as refused:
        asked(code=8)
    assert (dotted(refused.value.response[0]), refused.value.counter) == ("4.05", "method")
