"""libcoap's client against the plugtest function: every option that it can send, and loss that it makes itself."""

from pathlib import Path

import pytest
from tests.interop.dev import Dev
from tests.interop.plugtest.clients import libcoap
from tests.interop.plugtest.function.main import LARGE, Stored

pytestmark = pytest.mark.peer("coap-client-notls")


@pytest.mark.parametrize(
    ("path", "arguments", "printed"),
    [
        ("/test", [], "GET /test"),
        ("/test", ["-N"], "GET /test"),
        ("/test", ["-T", ""], "GET /test"),
        ("/test", ["-T", "8 octets"], "GET /test"),
        ("/test", ["-m", "put", "-e", "12345"], "5 bytes"),
        ("/test", ["-m", "put", "-e", "12345", "-t", "text/plain", "-N"], "5 bytes"),
        ("/test", ["-m", "post", "-e", "x"], ""),
        ("/test", ["-m", "delete"], ""),
        ("/separate", [], "GET /separate"),
        ("/separate", ["-N"], "GET /separate"),
        ("/seg1/seg2/seg3", [], "GET /seg1/seg2/seg3"),
        ("/query?first=1&second=2&third=3", [], "GET /query?first=1&second=2&third=3"),
        ("/multi-format", ["-A", "xml"], "<text>xml</text>"),
        ("/multi-format", ["-A", "50"], '{"text": "json"}'),
        ("/multi-format", ["-A", "47"], "4.06 text/plain, application/xml or application/json"),
        ("/nothing", [], "4.04 no such resource"),
        ("/link1", ["-m", "put", "-e", "x"], "4.05 no such method"),
        ("/test", ["-O", "65001,0x01"], "4.02 critical option 65001"),
        ("/test", ["-O", "65000,0x01"], "GET /test"),
        ("/test", ["-O", "16,0x10"], "GET /test"),  # Hop-Limit
        ("/test", ["-O", "28,0x"], "GET /test"),  # Size2: how large is it?
        ("/test", ["-O", "292,0x0102"], "GET /test"),  # Request-Tag
        ("/test", ["-O", "252,0x0102"], "GET /test"),  # Echo, which nobody asked for
        ("/test", ["-m", "put", "-e", "12345", "-O", "60,0x05"], "5 bytes"),  # Size1
        ("/test", ["-O", "31,0x"], "4.02 critical option 31"),  # Q-Block2 (RFC 9177)
        ("/test", ["-w"], "GET /test\n"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else None,
)
def test_one_request(path: str, arguments: list[str], printed: str, server: Dev) -> None:
    assert libcoap(server.port("coap"), path, *arguments).rstrip("\n") == printed.rstrip("\n")


def test_a_host_by_name(server: Dev) -> None:
    """It sends Uri-Host, and Uri-Port, since both differ from what the socket says."""
    assert libcoap(0, f"coap://localhost:{server.port('coap')}/test") == "GET /test\n"


def test_a_proxy_is_what_this_is_not(server: Dev) -> None:
    port = server.port("coap")
    said = libcoap(0, "coap://example.invalid/test", "-P", f"coap://127.0.0.1:{port}")
    assert said.startswith("5.05"), said


def test_conditions(server: Dev) -> None:
    port = server.port("coap")
    libcoap(port, "/create1", "-m", "delete")
    once = ["-m", "put", "-e", "new", "-O", "5,0x"]
    assert libcoap(port, "/create1", *once) == ""
    assert libcoap(port, "/create1", *once).startswith("4.12")
    assert libcoap(port, "/create1", "-m", "put", "-e", "newer", "-O", "1,0x00").startswith("4.12")
    assert libcoap(port, "/create1") == "new\n"
    put = ["-m", "put", "-e", "newer", "-t", "text/plain"]
    assert libcoap(port, "/create1", *put, "-O", "1,0x") == "changed\n"  # whatever it is
    etag = Stored(b"newer").etag.hex()
    assert libcoap(port, "/create1", *put, "-O", f"1,0x{etag}") == "changed\n"


def test_a_response_that_is_not_wanted(server: Dev) -> None:
    """No-Response (RFC 7967): of success (2) nothing is heard but the ACK, of an error (24) nothing either."""
    port = server.port("coap")
    assert libcoap(port, "/test", "-B", "2", "-m", "put", "-e", "x", "-N", "-O", "258,0x02") == ""
    assert libcoap(port, "/nothing", "-O", "258,0x02").startswith("4.04")


def test_the_same_again(server: Dev) -> None:
    said = libcoap(server.port("coap"), "/test", "-G", "2")
    assert said.count("GET /test") == 2


@pytest.mark.parametrize("flags", [[], ["-b", "16"], ["-b", "1024"], ["-N"]], ids=" ".join)
@pytest.mark.parametrize("path", ["/large", "/large-separate"])
def test_blocks_down(path: str, flags: list[str], server: Dev) -> None:
    assert libcoap(server.port("coap"), path, *flags) == LARGE + "\n"


def test_a_block_of_its_choice(server: Dev) -> None:
    assert libcoap(server.port("coap"), "/large", "-b", "30,64") == LARGE[30 * 64 : 31 * 64] + "\n"


@pytest.mark.parametrize("flags", [[], ["-b", "64"], ["-N"]], ids=" ".join)
def test_blocks_up(flags: list[str], server: Dev, tmp_path: Path) -> None:
    sent = tmp_path / "body"
    sent.write_text("".join(f"{number:05d}" for number in range(700)))
    port = server.port("coap")
    assert libcoap(port, "/large-update", "-m", "put", "-f", sent, "-t", "text/plain", *flags) == "changed\n"
    assert libcoap(port, "/large-update") == sent.read_text() + "\n"


@pytest.mark.parametrize("flags", [[], ["-b", "128"]], ids=" ".join)
def test_blocks_both_ways(flags: list[str], server: Dev, tmp_path: Path) -> None:
    sent = tmp_path / "body"
    sent.write_text("".join(f"abcd{number:05d}" for number in range(300)))
    said = libcoap(server.port("coap"), "/large-post", "-m", "post", "-f", sent, "-t", "text/plain", *flags)
    assert said == sent.read_text().upper() + "\n"


@pytest.mark.parametrize("flags", [[], ["-N"], ["-l", "20%"]], ids=" ".join)
def test_observe(flags: list[str], server: Dev) -> None:
    """For five seconds of a state that changes every second, and then it says that it is not interested any more."""
    path = "/obs-non" if flags == ["-N"] else "/obs"
    said = libcoap(server.port("coap"), path, "-s", "5", *flags)
    assert len(set(said.split("at "))) >= 3, said


def test_observe_a_large_resource(server: Dev) -> None:
    said = libcoap(server.port("coap"), "/obs-large", "-s", "3", "-L", "3")
    assert said.count(LARGE) >= 2, said


@pytest.mark.parametrize("path", ["/test", "/separate"])
@pytest.mark.parametrize("lost", ["1", "2"])
def test_one_is_lost(path: str, lost: str, server: Dev) -> None:
    """The client's first datagram, or its second: of /separate that is the ACK of the response."""
    assert libcoap(server.port("coap"), path, "-l", lost) == f"GET {path}\n"


def lossy(server: Dev, path: str, *arguments: object) -> str:
    """What it prints when it loses 30 % of what it sends. Its user tries again if it gave up, as is its right."""
    said = ""
    for _ in range(4):
        said = said or libcoap(server.port("coap"), path, "-l", "30%", *arguments)
    return said


@pytest.mark.parametrize("path", ["/test", "/separate"])
def test_loss(path: str, server: Dev) -> None:
    assert lossy(server, path, "-B", "10") == f"GET {path}\n"


@pytest.mark.timeout(120)
def test_loss_among_blocks(server: Dev, tmp_path: Path) -> None:
    sent = tmp_path / "body"
    sent.write_text("".join(f"abcd{number:05d}" for number in range(200)))
    whole = ["-L", "3"]  # it prints a body when all of it is there, or nothing
    said = lossy(server, "/large-post", "-m", "post", "-f", sent, "-t", "text/plain", *whole)
    assert said == sent.read_text().upper() + "\n"
