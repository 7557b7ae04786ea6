"""TD_COAP_LINK of ETSI's CoAP#4 plugtest: what there is, and filters of it, in CoRE Link Format (RFC 6690)."""

import re

from tests.interop.plugtest.wire import Device, number, said

from thinbridge.protocols.coap.codes import Option, dotted

LINK_FORMAT = 40
_LINK = re.compile(r"<([^>]*)>((?:;[^;,=\"]+(?:=(?:\"(?:[^\"\\]|\\.)*\"|[^;,\"]*))?)*)(?:,|$)")
_PARAMETER = re.compile(r";([^;,=\"]+)(?:=(?:\"((?:[^\"\\]|\\.)*)\"|([^;,\"]*)))?")

Links = dict[str, dict[str, str]]


def parse(text: str) -> Links:
    """Links by their targets, each with its attributes (RFC 6690 §2); all of the text must be links."""
    links: Links = {}
    at = 0
    while at < len(text):
        found = _LINK.match(text, at)
        assert found, f"no link: {text[at:]}"
        links[found[1]] = {one[1]: one[2] or one[3] or "" for one in _PARAMETER.finditer(found[2])}
        at = found.end()
    return links


def discover(device: Device, query: str = "") -> Links:
    """What /.well-known/core says to a query."""
    response = device.fetch(f"/.well-known/core{query}")
    assert dotted(response.code) == "2.05"
    assert number(response, Option.CONTENT_FORMAT) == (LINK_FORMAT if response.payload else None)
    return parse(response.payload.decode())


def test_link_01(device: Device) -> None:
    """GET /.well-known/core: all links."""
    links = discover(device)
    assert {"/test", "/large", "/link1", "/link2", "/link3", "/path", "/seg1/seg2/seg3"} <= set(links)
    assert links["/link1"] == {"rt": "Type1 Type2", "if": "If1"}
    assert links["/multi-format"]["ct"] == "0 41 50"


def test_link_02(device: Device) -> None:
    """A filter by resource type."""
    assert set(discover(device, "?rt=Type1")) == {"/link1", "/link3"}


def test_link_03(device: Device) -> None:
    """An empty prefix, `rt=*`: the links that have the attribute at all."""
    links, every = discover(device, "?rt=*"), discover(device)
    assert set(links) == {target for target, attributes in every.items() if "rt" in attributes}
    assert len(links) < len(every)


def test_link_04(device: Device) -> None:
    """Several resource types of one resource: each is found."""
    assert set(discover(device, "?rt=Type2")) == {"/link1", "/link2"}


def test_link_05(device: Device) -> None:
    """A filter by interface description with a prefix."""
    assert set(discover(device, "?if=If*")) == {"/link1", "/link2"}


def test_link_06(device: Device) -> None:
    """`sz=*`: the links that say how large they are."""
    links, every = discover(device, "?sz=*"), discover(device)
    assert set(links) == {target for target, attributes in every.items() if "sz" in attributes}
    assert 0 < len(links) < len(every)
    assert all(attributes["sz"].isdigit() for attributes in links.values())


def test_link_07(device: Device) -> None:
    """A filter by target, complete."""
    assert set(discover(device, "?href=/link1")) == {"/link1"}


def test_link_08(device: Device) -> None:
    """A filter by target with a prefix."""
    assert set(discover(device, "?href=/link*")) == {"/link1", "/link2", "/link3"}


def test_link_09(device: Device) -> None:
    """Links to more links: from the directory with `ct=40` to its entries, and to what they are."""
    assert set(discover(device, "?ct=40")) == {"/path"}
    directory = device.ask("GET", "/path")
    assert number(directory, Option.CONTENT_FORMAT) == LINK_FORMAT
    entries = parse(directory.payload.decode())
    assert set(entries) == {"/path/sub1", "/path/sub2", "/path/sub3"}
    for target in entries:
        assert said(device.ask("GET", target)) == ("2.05", f"GET {target}")
