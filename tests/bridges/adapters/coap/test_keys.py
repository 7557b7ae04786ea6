"""Keys in directories: each mistake is one line, and nothing stays locked."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path as File

import cbor2
import pytest
from tests.bridges.adapters.coap.protected import make_context, make_edhoc

from thinbridge.adapters.coap import CoAPOscore, OscoreSettings
from thinbridge.adapters.coap.keys import Keys
from thinbridge.errors import SettingsError
from thinbridge.protocols.base import Limits


def test_neither_is_a_mistake() -> None:
    with pytest.raises(SettingsError, match=r"contexts: \(none\): name a directory"):
        Keys("", "")


def _no_json(place: File) -> None:
    make_context(place / "a", "00", "01")
    (place / "a" / "settings.json").write_text("{")


def _incomplete(place: File) -> None:
    make_context(place / "a", "00", "01")
    (place / "a" / "settings.json").write_text(json.dumps({"sender-id_hex": "00"}))


def _twice(place: File) -> None:
    make_context(place / "a", "00", "01")
    make_context(place / "b", "02", "01")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda place: None, "give a directory that can be read: No such file or directory"),
        (lambda place: place.mkdir(), "put a directory with settings.json there for each device"),
        (_no_json, "this is no OSCORE context: "),
        (_incomplete, "this is no OSCORE context: Configuration key missing"),
        (_twice, "another context has this recipient id; use a different one"),
    ],
)
def test_contexts_that_can_not_be_used(make: Callable[[File], None], words: str, tmp_path: File) -> None:
    make(tmp_path / "contexts")
    with pytest.raises(SettingsError) as caught:
        Keys(str(tmp_path / "contexts"), "")
    assert str(caught.value).startswith(f"contexts: {tmp_path / 'contexts'}")
    assert words in str(caught.value)


def test_a_context_is_for_one_process_and_free_when_it_is_closed(tmp_path: File) -> None:
    place = make_context(tmp_path / "contexts" / "meter-7", "00", "01").parent
    keys = Keys(str(place), "")
    with pytest.raises(SettingsError, match="meter-7: another process uses it; each bridge needs its own"):
        Keys(str(place), "")
    keys.close()
    Keys(str(place), "").close()
    assert "received" in json.loads((place / "meter-7" / "sequence.json").read_text())


def test_a_context_that_can_not_be_written_down_at_the_end_keeps_no_other_from_it(
    tmp_path: File, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, recipient in (("a", "01"), ("b", "02")):
        make_context(tmp_path / name, "00", recipient)
    keys = Keys(str(tmp_path), "")

    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keys._files[1], "_store", full)
    keys.close()
    [line] = caplog.messages
    assert line.startswith(f"the OSCORE context in {tmp_path / 'b'} can't be written down: No space left")
    assert [(tmp_path / name / "sequence.json").exists() for name in "ab"] == [True, False]
    Keys(str(tmp_path), "").close()  # nothing is locked


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda place: (place / "key").unlink(), "key: give a file that can be read: No such file"),
        (lambda place: (place / "key").chmod(0o644), "key: take it from everybody: chmod 600"),
        (lambda place: (place / "key").write_bytes(cbor2.dumps({1: 1})), "key: this can't be used: Private key type"),
        (lambda place: (place / "credential").write_bytes(b"\xff"), "credential: this can't be used"),
        (lambda place: (place / "credential").write_bytes(cbor2.dumps({14: {}})), "use what aiocoap-keygen prints"),
        (
            lambda place: (place / "peers" / "z").write_bytes((place / "peers" / "a.ccs").read_bytes()),
            "another device has this key id; use a different one",
        ),
    ],
)
def test_credentials_that_can_not_be_used(spoil: Callable[[File], object], words: str, tmp_path: File) -> None:
    make_edhoc(tmp_path / "edhoc", "a")
    spoil(tmp_path / "edhoc")
    with pytest.raises(SettingsError) as caught:
        Keys("", str(tmp_path / "edhoc"))
    assert str(caught.value).startswith("edhoc: ")
    assert words in str(caught.value)


def test_a_port_that_is_taken_leaves_the_keys_to_others(tmp_path: File) -> None:
    async def scene() -> None:
        place = make_context(tmp_path / "contexts" / "meter-7", "00", "01").parent
        limits = Limits()

        def endpoint(port: int, contexts: File) -> CoAPOscore:
            return CoAPOscore(OscoreSettings(contexts=str(contexts)), bytes)

        other = make_context(tmp_path / "others" / "meter-8", "00", "01").parent
        first = endpoint(0, other).endpoint_at("127.0.0.1", 0, limits)
        await first.open()
        first.serve(lambda *event: None)
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(SettingsError, match="Address already in use"):
            await endpoint(port, place).endpoint_at("127.0.0.1", port, limits).open()
        Keys(str(place), "").close()
        await first.close()

    asyncio.run(scene())
