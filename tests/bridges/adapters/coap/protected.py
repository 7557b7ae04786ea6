"""Devices with keys in virtual time: OSCORE and EDHOC, by aiocoap's own client parts."""

import json
from pathlib import Path as File
from typing import Any

import cbor2
import lakers
from aiocoap import Message as Plain
from aiocoap import edhoc, oscore
from tests.bridges.protocols.coap.bench import DONE, Played

from thinbridge.adapters.coap import OscoreSettings
from thinbridge.adapters.coap.keys import FileContext
from thinbridge.adapters.coap.oscore import OscoreCoAP
from thinbridge.protocols.base import Path
from thinbridge.protocols.coap.codec import Message, OptionValue, compose, decode, encode
from thinbridge.protocols.coap.codes import POST, Option, Type
from thinbridge.testing import seeded

DEVICE = Path(("192.0.2.7", 40000), ("198.51.100.1", 5683))
EDHOC = [(Option.URI_PATH, b".well-known"), (Option.URI_PATH, b"edhoc")]


def make_context(place: File, sender: str, recipient: str) -> File:
    """A directory with an OSCORE context, not used yet."""
    place.mkdir(parents=True)
    settings = {"sender-id_hex": sender, "recipient-id_hex": recipient, "secret_hex": "01" * 16}
    (place / "settings.json").write_text(json.dumps(settings))
    return place


def make_edhoc(place: File, *devices: str) -> dict[str, tuple[edhoc.CoseKeyForEdhoc, Any]]:
    """A directory for EDHOC; each device's private key and credential, and the bridge's own as `""`."""
    (place / "peers").mkdir(parents=True)
    made = {"": edhoc.CoseKeyForEdhoc.generate(place / "key")}
    made |= {name: edhoc.CoseKeyForEdhoc.generate() for name in devices}
    credentials = {name: key.as_ccs(bytes([10 + number]), name) for number, (name, key) in enumerate(made.items())}
    (place / "credential").write_bytes(cbor2.dumps(credentials[""]))
    for name in devices:
        (place / "peers" / f"{name}.ccs").write_bytes(cbor2.dumps(credentials[name]))
    return {name: (key, credentials[name]) for name, key in made.items()}


class Place(Played[bytes]):
    """A listener with keys, and all that its sessions report."""

    core: OscoreCoAP

    def __init__(self, contexts: File | None = None, credentials: File | None = None, **settings: float) -> None:
        where = {"contexts": str(contexts or ""), "edhoc": str(credentials or "")}
        super().__init__(OscoreCoAP(OscoreSettings(**where, **settings), seeded(1)))  # type: ignore[arg-type]
        self.core.unlock()
        self._sent: list[bytes] = []

    def _take(self, data: bytes | None, path: Path) -> None:
        assert data is not None
        self._sent.append(data)

    def said(self) -> list[bytes]:
        """See `Played`."""
        sent, self._sent = self._sent, []
        return sent

    def send(self, data: bytes, path: Path = DEVICE) -> list[bytes]:
        """A datagram comes; what goes out at once."""
        self.owner.datagram(data, path, self.now)
        return self.said()


class Meter:
    """A device with an OSCORE context.

    Args:
        context: aiocoap's.
    """

    def __init__(self, context: Any) -> None:
        self.context = context
        self._requests: dict[bytes, Any] = {}

    @classmethod
    def of(cls, place: File) -> "Meter":
        """One whose context is a directory."""
        return cls(FileContext(str(place)))

    def ask(
        self,
        mid: int = 1,
        *options: OptionValue,
        code: int = POST,
        token: bytes = b"t",
        payload: bytes = b"x",
        kind: int = Type.CON,
        outer: tuple[OptionValue, ...] = (),
    ) -> bytes:
        """A request under protection."""
        plain = Plain(code=code, payload=payload)
        plain.opt.decode(encode(Message(0, 0, 0, b"", options))[4:])
        protected, self._requests[token] = self.context.protect(plain)
        sealed = decode(b"\x40" + bytes([protected.code, 0, 0]) + protected.opt.encode())
        options = tuple(sorted([*sealed.options, *outer]))
        return compose(kind, protected.code, mid, token, options, protected.payload)

    def read(self, data: bytes) -> tuple[Message, Plain]:
        """A response: what is to be seen of it, and what was under protection."""
        seen = decode(data)
        plain, _ = self.context.unprotect(Plain.decode(data), self._requests[seen.token])
        return seen, plain


def shake(place: Place, key: edhoc.CoseKeyForEdhoc, mine: Any, yours: Any) -> tuple[Any, bytes]:
    """Messages 1 and 2 of EDHOC; the device's context, which sends message 3 with its first request."""
    initiator = lakers.EdhocInitiator()
    message_1 = initiator.prepare_message_1(b"\x17", [])
    [data] = place.send(compose(Type.CON, POST, 7, b"e", EDHOC, b"\xf5" + message_1))
    answer = decode(data)
    c_r, _, _ = initiator.parse_message_2(answer.payload)
    credentials = [cbor2.dumps(one[14], canonical=True) for one in (mine, yours)]
    initiator.verify_message_2(key.d, *credentials)
    context = edhoc.EdhocInitiatorContext(initiator, b"\x17", c_r, edhoc.OwnCredStyle.ByKeyId, _Silent())
    context.complete_without_message_4()
    return context, c_r


class _Silent:
    def debug(self, *words: object) -> None:
        """Say nothing."""


__all__ = ["DEVICE", "DONE", "EDHOC", "Meter", "Place", "make_context", "make_edhoc", "oscore", "shake"]
