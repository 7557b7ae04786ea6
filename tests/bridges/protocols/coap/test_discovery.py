"""What there is."""

from urllib.parse import quote

import pytest
from aiocoap.util import linkformat
from hypothesis import given
from hypothesis import strategies as st
from tests.bridges.protocols.coap.bench import STRANGER, Bench, ask

from thinbridge.protocols.base import Resource
from thinbridge.protocols.coap.codec import OptionValue
from thinbridge.protocols.coap.codes import (
    CONTENT,
    GET,
    METHOD_NOT_ALLOWED,
    METHODS,
    NOT_ACCEPTABLE,
    STATUS,
    UNAUTHORIZED,
    VALID,
    Option,
    Type,
)
from thinbridge.protocols.coap.discovery import answer

OFFERED = (
    Resource("sensors/light", {"rt": "light-lux core.s", "if": "sensor", "obs": "true", "ct": "0 application/json"}),
    Resource("sensors/temp", {"rt": "temperature-c", "if": "sensor", "ct": "50", "obs": "false"}),
    Resource("firmware", {"sz": "5242880", "title": 'the "new" one \\o/', "ct": "image/x-unheard-of 42"}),
    Resource("plain"),
)
LIGHT = '</sensors/light>;rt="light-lux core.s";if="sensor";ct="0 50";obs'
TEMP = '</sensors/temp>;rt="temperature-c";if="sensor";ct=50'
FIRMWARE = '</firmware>;ct=42;sz=5242880;title="the \\"new\\" one \\\\o/"'
PLAIN = "</plain>"


def path(text: str = ".well-known/core") -> list[OptionValue]:
    return [(Option.URI_PATH, segment.encode()) for segment in text.split("/")]


def links(*arguments: bytes) -> str:
    return answer(OFFERED, arguments).data.decode()


def test_all_that_there_is() -> None:
    assert links() == ",".join((LIGHT, TEMP, FIRMWARE, PLAIN))


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((b"rt=light-lux",), [LIGHT]),
        ((b"rt=core.s",), [LIGHT]),
        ((b"rt=light*",), [LIGHT]),
        ((b"rt=*",), [LIGHT, TEMP]),
        ((b"rt=light-lux core.s",), []),
        ((b"rt=light",), []),
        ((b"if=sensor",), [LIGHT, TEMP]),
        ((b"if=sensor", b"rt=temp*"), [TEMP]),
        ((b"href=/sensors/temp",), [TEMP]),
        ((b"href=/sensors*",), [LIGHT, TEMP]),
        ((b"href=sensors*",), []),
        ((b"ct=50",), [LIGHT, TEMP]),
        ((b"ct=4*",), [FIRMWARE]),
        ((b"obs",), [LIGHT]),
        ((b"sz=5242880",), [FIRMWARE]),
        ((b'title=the "new" *',), [FIRMWARE]),
        ((b"rel=anything",), []),
        ((b"",), []),
        ((b"rt=\xff*",), []),
    ],
)
def test_filters(arguments: tuple[bytes, ...], found: list[str]) -> None:
    assert links(*arguments) == ",".join(found)


def test_formats_without_a_number_are_left_out() -> None:
    resource = Resource("a", {"rt": "t", "ct": "image/x-unheard-of"})
    assert answer([resource], []).data == b'</a>;rt="t"'
    assert answer([resource], [b"ct"]).data == b""


def test_two_routes_of_one_subject_are_one_link() -> None:
    offered = (Resource("a", {"rt": "one"}), Resource("b"), Resource("a", {"rt": "two"}))
    assert answer(offered, ()).data == b'</a>;rt="one",</b>'


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\\"), min_size=1))
def test_an_independent_parser_reads_any_subject_and_title(text: str) -> None:  # but for what that does not unquote
    document = answer([Resource(text, {"title": text}), Resource("next")], ()).data.decode()
    one, _ = linkformat.parse(document).links
    assert one.href == "/" + quote(text, safe="/%!$&'()*+,;=:@")
    assert one.title == text


def test_a_device_asks_the_bridge_and_no_function_hears_of_it() -> None:
    bench = Bench()
    bench.core.resources = OFFERED
    (reply,) = bench.send(ask(1, *path(), (Option.URI_QUERY, b"rt=light*"), code=GET, payload=b""))
    assert (reply.type, reply.code, reply.token) == (Type.ACK, CONTENT, b"t")
    assert reply.payload == LIGHT.encode()
    assert reply.get(Option.CONTENT_FORMAT) == b"\x28"
    etag = (Option.ETAG, reply.get(Option.ETAG) or b"")
    assert not bench.messages
    assert not bench.session.busy
    query = (Option.URI_QUERY, b"rt=light*")
    assert bench.send(ask(1, *path(), query, code=GET, payload=b"")) == [reply]
    assert bench.send(ask(2, etag, *path(), query, code=GET))[0].code == VALID
    bench.core.resources = OFFERED[1:]
    assert bench.send(ask(3, etag, *path(), query, code=GET))[0].payload == b""
    assert bench.send(ask(4, *path(), (Option.ACCEPT, b"\x32"), code=GET))[0].code == NOT_ACCEPTABLE


@pytest.mark.parametrize(
    ("conditions", "code"),
    [
        ([(Option.IF_NONE_MATCH, b"")], STATUS[412]),
        ([(Option.IF_MATCH, b"other")], STATUS[412]),
        ([(Option.IF_MATCH, b"")], CONTENT),
    ],
)
def test_it_keeps_to_the_conditions_of_a_request(conditions: list[OptionValue], code: int) -> None:
    """RFC 7252 §5.10.8: both options are critical."""
    bench = Bench()
    bench.core.resources = OFFERED
    (reply,) = bench.send(ask(1, *conditions, *path(), code=GET))
    assert reply.code == code


def test_it_is_given_to_who_names_its_etag() -> None:
    bench = Bench()
    bench.core.resources = OFFERED
    (reply,) = bench.send(ask(1, *path(), code=GET))
    conditions = [(Option.IF_MATCH, b"other"), (Option.IF_MATCH, reply.get(Option.ETAG) or b"")]
    assert bench.send(ask(2, *conditions, *path(), code=GET))[0].payload == reply.payload


@pytest.mark.parametrize("method", METHODS)
def test_it_can_only_be_read(method: int) -> None:
    bench = Bench()
    (reply,) = bench.send(ask(1, *path(), code=method))
    assert reply.code == (CONTENT if method == GET else METHOD_NOT_ALLOWED)


def test_a_route_may_leave_the_answer_to_its_function() -> None:
    bench = Bench()
    bench.core.resources = (Resource(".well-known/core"),)
    assert bench.send(ask(1, *path(), code=GET)) == []
    assert bench.inbound.subject == ".well-known/core"
    assert bench.send(ask(2, *path(".well-known/other"), code=GET)) == []


def test_a_stranger_is_challenged_first() -> None:
    bench = Bench(STRANGER)
    bench.core.resources = OFFERED
    request = ask(1, *path(), code=GET, token=b"", payload=b"")
    (challenge,) = bench.send(request)
    assert challenge.code == UNAUTHORIZED
    assert bench.bytes_out <= 3 * bench.bytes_in
    echo = (Option.ECHO, challenge.get(Option.ECHO) or b"")
    assert bench.send(ask(2, *path(), echo, code=GET))[0].code == CONTENT
