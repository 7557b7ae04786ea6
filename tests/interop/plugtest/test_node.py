"""npm's `coap` against the plugtest function."""

import pytest
from tests.interop.dev import Dev
from tests.interop.plugtest.clients import node
from tests.interop.plugtest.function.main import LARGE

pytestmark = pytest.mark.peer("node", "npm:coap")


@pytest.mark.parametrize("confirmable", [True, False], ids=["CON", "NON"])
@pytest.mark.parametrize("path", ["/test", "/separate", "/query?first=1&second=2"])
def test_get(path: str, confirmable: bool, server: Dev) -> None:
    [heard] = node(server.port("coap"), path, confirmable=confirmable)
    assert (heard.code, heard.payload) == ("2.05", f"GET {path}")
    assert ("Content-Format", "text/plain") in heard.options


def test_put_post_delete(server: Dev) -> None:
    port, text = server.port("coap"), {"Content-Format": "text/plain"}
    assert node(port, "/test", method="PUT", payload="12345", set=text)[0].payload == "5 bytes"
    [created] = node(port, "/test", method="POST", payload="x", set=text)
    assert created.code == "2.01"
    assert [value for name, value in created.options if name == "Location-Path"] == [
        "location1",
        "location2",
        "location3",
    ]
    assert node(port, "/test", method="DELETE")[0].code == "2.02"


def test_accept_and_etag(server: Dev) -> None:
    port = server.port("coap")
    assert node(port, "/multi-format", options={"Accept": "application/xml"})[0].payload == "<text>xml</text>"
    assert node(port, "/nothing")[0].code == "4.04"
    [first] = node(port, "/validate")
    assert [name for name, _ in first.options] == ["ETag", "Content-Format"]


def test_blocks_down(server: Dev) -> None:
    [heard] = node(server.port("coap"), "/large")
    assert heard.payload == LARGE


def test_blocks_up(server: Dev) -> None:
    """It sends blocks only if it is told to: Block1 is the size exponent of the first."""
    port, text = server.port("coap"), "".join(f"{number:05d}" for number in range(700))
    set_ = {"Content-Format": "text/plain", "Block1": 6}
    assert node(port, "/large-update", method="PUT", payload=text, set=set_)[0].payload == "changed"
    assert node(port, "/large-update")[0].payload == text


def test_observe(server: Dev) -> None:
    heard = node(server.port("coap"), "/obs", observe=True, notifications=3)
    sequences = [dict(one.options)["Observe"] for one in heard]
    assert len(heard) == 4
    assert sequences == sorted(set(sequences))
