"""Publishing to a subject: over HTTP, and who may."""

from pathlib import Path

import pytest
from tests.bridges.inbox.rig import run, serving

from thinbridge.errors import SettingsError
from thinbridge.inbox.guard import Guard
from thinbridge.protocols.base import Outbound

SUBJECT = "/observe/site%20a/door%252F1"


def test_everyone_who_listens_is_counted() -> None:
    async def main() -> None:
        async with serving() as rig:
            answer = await rig.ask("POST", SUBJECT, b"21.5", content_type="text/plain")
            assert (answer.status, answer.body) == (200, b'{"observers": 1}\n')
            assert rig.gate.published == [("site a/door%2F1", Outbound("text/plain", b"21.5"))]

    run(main())


def test_what_is_no_publication() -> None:
    async def main() -> None:
        async with serving() as rig:
            assert (await rig.ask("GET", SUBJECT)).status == 405
            assert (await rig.ask("OPTIONS", SUBJECT)).status == 200
            assert (await rig.ask("POST", "/observe", b"x")).status == 404
            malformed = await rig.ask("POST", SUBJECT, b"{", content_type="application/cloudevents+json")
            assert malformed.status == 400
            assert rig.gate.published == []

    run(main())


def test_off_loopback_it_takes_the_token(tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "token"
        file.write_text("s3cret\n")
        async with serving(host="0.0.0.0", token_file=str(file)) as rig:
            for wrong in ({}, {"authorization": "Bearer other"}, {"authorization": "s3cret"}):
                refused = await rig.ask("POST", SUBJECT, b"x", **wrong)
                assert refused.status == 401
                assert refused.headers["www-authenticate"] == "Bearer"
            assert rig.refused("unauthorized") == 3
            assert (await rig.ask("POST", SUBJECT, b"x", authorization="Bearer s3cret")).status == 200

    run(main())


@pytest.mark.parametrize(
    ("host", "anybody"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False)]
)
def test_without_a_token_only_loopback_is_open(host: str, anybody: bool) -> None:
    guard = Guard(host, None)
    assert guard.admits(None) is anybody
    assert guard.admits(b"Bearer ") is anybody


@pytest.mark.parametrize("content", ["", "two words", None])
def test_a_token_that_is_not_there_ends_the_start(content: str | None, tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "token"
        if content is not None:
            file.write_text(content)
        with pytest.raises(SettingsError, match=f"^http.token_file: {file}: give a file"):
            async with serving(token_file=str(file)):
                pass

    run(main())


def test_a_token_that_is_gone_admits_nobody(tmp_path: Path) -> None:
    guard = Guard("127.0.0.1", str(tmp_path / "token"))
    assert not guard.admits(None)
    assert not guard.admits(b"Bearer ")
