"""A destination, parsed."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinbridge import __version__
from thinbridge.delivery.sink import Change, Sink
from thinbridge.routes import Destination


@pytest.mark.parametrize(
    ("uri", "host", "port", "secure", "target", "authority"),
    [
        ("http://fn", "fn", 80, False, "/", "fn"),
        ("http://fn.ns.svc.cluster.local/a/b?c=d&e", "fn.ns.svc.cluster.local", 80, False, "/a/b?c=d&e", None),
        ("https://FN:8443/#top", "fn", 8443, True, "/", "fn:8443"),
        ("https://user:secret@fn/", "fn", 443, True, "/", "fn"),
        ("http://[::1]:8080/x", "::1", 8080, False, "/x", "[::1]:8080"),
        ("http://bücher.example/ä b%20c", "xn--bcher-kva.example", 80, False, "/%C3%A4%20b%20c", None),
    ],
)
def test_parsed(uri: str, host: str, port: int, secure: bool, target: str, authority: str | None) -> None:
    sink = Sink(Destination(uri))
    assert (sink.host, sink.port, sink.secure) == (host, port, secure)
    assert sink.head.startswith(f"POST {target} HTTP/1.1\r\nhost: {authority or host}\r\n")
    assert "secret" not in sink.head + sink.url


def test_the_head() -> None:
    assert Sink(Destination("http://fn/")).head == (
        f"POST / HTTP/1.1\r\nhost: fn\r\nuser-agent: thinbridge/{__version__}\r\n"
        "accept: */*\r\naccept-encoding: identity\r\nprefer: reply\r\n"
    )


def test_where_it_comes_from() -> None:
    assert Sink(Destination("http://fn/"), namespace="iot").head.endswith("\r\nkn-namespace: iot\r\n")


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_no_url_breaks_the_head(path: str, query: str) -> None:
    head = Sink(Destination(f"http://fn/{path}?{query}")).head
    assert head.isascii()
    assert len(head.split("\r\n")) == 7
    assert len(head.split("\r\n")[0].split(" ")) == 3


def test_tls_verifies() -> None:
    assert Sink(Destination("http://fn/")).tls is None
    tls = Sink(Destination("https://fn/")).tls
    assert tls is not None
    assert (tls.verify_mode, tls.check_hostname) == (ssl.CERT_REQUIRED, True)
    with pytest.raises(ssl.SSLError):
        _ = Sink(Destination("https://fn/", ca_certs="no PEM")).tls


def test_how_it_fares() -> None:
    sink = Sink(Destination("http://fn/"))
    assert (sink.failing_since, sink.error) == (None, None)
    sink.failing("connection refused", 5.0)
    sink.failing("answered 503", 6.0)
    assert (sink.failing_since, sink.error) == (5.0, "answered 503")
    sink.well()
    assert (sink.failing_since, sink.error) == (None, None)


def test_what_it_holds_up() -> None:
    told: list[Change] = []
    sink = Sink(Destination("http://fn/"), lambda _, change: told.append(change))
    first, second = object(), object()
    assert (sink.held_up, sink.held_up_since) == (0, None)
    assert sink.hold_up(first, 7.0)
    assert not sink.hold_up(first, 9.0)
    assert sink.hold_up(second, 5.0)
    assert (sink.held_up, sink.held_up_since) == (2, 5.0)
    for one in (second, second, first):
        sink.let_go(one)
    assert (sink.held_up, sink.held_up_since) == (0, None)
    assert told == [Change.HOLDS_UP, Change.LETS_GO]
