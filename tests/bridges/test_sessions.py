"""The directory: tokens and sessions, both ways."""

import random

import pytest
from tests.bridges.stubs import StubEndpoint, StubSession

from thinbridge.protocols.base import Identity
from thinbridge.sessions import REMEMBERED, Directory, Missing, session_attributes


@pytest.fixture
def directory() -> Directory:
    return Directory(random.Random(1).randbytes, lambda: "http://10.0.0.1:8090")


def test_a_session_keeps_its_entry_and_is_found_by_its_token(directory: Directory) -> None:
    endpoint, session = StubEndpoint(), StubSession()
    entry = directory.entry(endpoint, session)
    assert directory.entry(endpoint, session) is entry
    assert directory.find(entry.token) is entry
    assert entry.replyto == f"http://10.0.0.1:8090/r/{entry.token}/"
    assert len(bytes.fromhex(entry.token)) == 16
    assert len(directory) == 1


def test_a_token_tells_gone_from_unknown(directory: Directory) -> None:
    session = StubSession()
    entry = directory.entry(StubEndpoint(), session)
    assert directory.remove(session) is entry
    assert directory.remove(session) is None
    assert directory.find(entry.token) is Missing.GONE
    assert directory.find("0" * 32) is Missing.UNKNOWN


def test_the_memory_of_the_gone_is_bounded(directory: Directory) -> None:
    tokens = []
    for _ in range(REMEMBERED + 1):
        session = StubSession()
        tokens.append(directory.entry(StubEndpoint(), session).token)
        directory.remove(session)
    assert directory.find(tokens[0]) is Missing.UNKNOWN
    assert directory.find(tokens[1]) is Missing.GONE


def test_all_open_exchanges(directory: Directory) -> None:
    entry = directory.entry(StubEndpoint(), StubSession())
    entry.open[3] = "exchange"
    assert directory.waiting() == ["exchange"]


def test_what_every_event_of_a_session_says() -> None:
    session = StubSession()
    assert session_attributes(session) == {"sessionid": session.id, "partitionkey": session.id}
    session.device = "pump-7"
    session.identity = Identity("psk", "pump-7")
    assert session_attributes(session) == {
        "sessionid": session.id,
        "partitionkey": "pump-7",
        "deviceid": "pump-7",
        "authtype": "service_account",
        "authid": "psk:pump-7",
    }
    session.identity = Identity("user", "ann")
    assert session_attributes(session)["authtype"] == "user"
