"""OSCORE contexts and EDHOC credentials: which devices may speak, and under which keys. aiocoap's, in directories.

`oscore` asks it for the context of each message. A context is known by the id that its device sends (kid, RFC 8613 §2);
one that EDHOC has made lives in memory only.
"""

import logging
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any, Final

import cbor2
from aiocoap import edhoc, oscore
from filelock import Timeout

from thinbridge.errors import SettingsError
from thinbridge.protocols.base import Identity

HANDSHAKES: Final = 16
"""EDHOC handshakes that may have begun and not ended: anybody can begin one. The oldest goes for a new one."""
ESTABLISHED: Final = 24
"""Contexts that EDHOC has made; the one that is silent for longest goes for a new one, and its device does EDHOC again.
Lakers names a context by one byte, which leaves 48 of them."""

LOG: Final = logging.getLogger("thinbridge")

silent: Final = logging.getLogger("thinbridge.adapters.coap.oscore")
silent.disabled = True  # aiocoap logs what devices send; what happens to messages is counted
logging.getLogger("aiocoap.cryptography").disabled = True  # the same, decrypted


class Peer:
    """Somebody who shares keys with us.

    Args:
        number: which one it is here.
        context: aiocoap's.
        identity: who it is; None until EDHOC has found out.
    """

    __slots__ = ("context", "identity", "number")

    def __init__(self, number: int, context: Any, identity: Identity | None = None) -> None:
        self.number, self.context, self.identity = number, context, identity


class FileContext(oscore.FilesystemSecurityContext):  # type: ignore[misc]  # aiocoap has no types
    """One that lives in a directory, which nobody else uses meanwhile."""

    basedir: str
    lockfile: Any
    sequence_number_persisted: int

    def _load(self) -> None:
        try:
            super()._load()
        except BaseException:
            self.lockfile.release()
            self.lockfile = None  # or its end would write what it has not read
            raise

    def end(self) -> None:
        """Write down how far its numbers are used; where that fails, the next to open it knows that it doesn't know."""
        try:
            self._destroy()
        except OSError as error:
            LOG.error("the OSCORE context in %s can't be written down: %s", self.basedir, error.strerror)
            self.lockfile.release()
            self.lockfile = None

    def post_seqnoincrease(self) -> None:
        """Write down that more numbers are in use; where that fails, they are not (RFC 8613 §7.2.1)."""
        written = self.sequence_number_persisted
        try:
            super().post_seqnoincrease()
        except BaseException:
            self.sequence_number_persisted = written
            raise


class Keys:
    """All of a listener. It is also what aiocoap's EDHOC takes for its server's credentials.

    Args:
        contexts: a directory; each directory in it is the OSCORE context of the device of that name. Empty: none.
        credentials: a directory with `key`, `credential` and `peers/<device>`. Empty: no EDHOC.

    Raises:
        SettingsError: something there can't be used; nothing is left locked.
    """

    def __init__(self, contexts: str, credentials: str) -> None:
        self._numbers = count(1)
        self._files: list[FileContext] = []
        self._by_id: dict[tuple[bytes | None, bytes | None], Peer] = {}
        self._made: dict[bytes, Peer] = {}  # by EDHOC, the one that is silent for longest first
        self._devices: dict[bytes, tuple[bytes, str]] = {}  # ID_CRED_I → the credential, whose it is
        self.own: edhoc.EdhocCredentials | None = None
        if not contexts and not credentials:
            raise SettingsError("contexts", "(none)", "name a directory of OSCORE contexts, or one for EDHOC by edhoc")
        try:
            if contexts:
                self._load_contexts(Path(contexts))
            if credentials:
                self._load_credentials(Path(credentials))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Write down what must not be used again, and let others have the directories."""
        while self._files:
            self._files.pop().end()

    def find(self, unprotected: Mapping[int, bytes]) -> Peer | None:
        """Who sends such a message, by what it says in the clear."""
        kid = unprotected.get(oscore.COSE_KID)
        peer = self._by_id.get((kid, unprotected.get(oscore.COSE_KID_CONTEXT)))
        if peer is not None and kid in self._made:
            self._made[kid] = self._made.pop(kid)
        return peer

    def proven(self, peer: Peer) -> Identity:
        """Who it is whose message could be opened; a context that EDHOC had made for the same device before goes."""
        if peer.identity is None:
            name = peer.context.authenticated_claims[-1]  # earlier ones were claimed, and not proven
            peer.identity = who = Identity("rpk", name)
            for kid in [kid for kid, other in self._made.items() if other.identity == who and other is not peer]:
                self._forget(kid)
        return peer.identity

    # --- From files -------------------------------------------------------------------------------------------

    def _load_contexts(self, directory: Path) -> None:
        for place in sorted(one for one in _listed("contexts", directory) if one.is_dir()):
            try:
                context = FileContext(str(place))
            except Timeout:
                raise SettingsError("contexts", place, "another process uses it; each bridge needs its own") from None
            except OSError as error:
                raise SettingsError("contexts", place, f"make it writable: {error.strerror}") from None
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise SettingsError("contexts", place, f"this is no OSCORE context: {error}") from None
            self._files.append(context)
            key = context.recipient_id, context.id_context
            if key in self._by_id:
                raise SettingsError("contexts", place, "another context has this recipient id; use a different one")
            self._by_id[key] = Peer(next(self._numbers), context, Identity("psk", place.name))
        if not self._files:
            raise SettingsError("contexts", directory, "put a directory with settings.json there for each device")

    def _load_credentials(self, directory: Path) -> None:
        key = directory / "key"
        if _read(key, lambda: key.stat().st_mode) & 0o007:
            raise SettingsError("edhoc", key, "take it from everybody: chmod 600")
        private = _read(key, lambda: edhoc.CoseKeyForEdhoc.from_map(edhoc.load_cbor_or_edn(key)))
        own = edhoc.EdhocCredentials(2, 3)  # the suite and method that Lakers has: P-256, static keys on both sides
        own.own_key, own.own_cred = private, _credential(directory / "credential")
        own.own_cred_style = edhoc.OwnCredStyle.ByKeyId
        self.own = own
        for place in sorted(_listed("edhoc", directory / "peers")):
            credential = _credential(place)
            value = cbor2.dumps(credential[14], canonical=True)
            kid = credential[14][8][1].get(2)
            entry = value, place.stem
            self._devices[cbor2.dumps(credential, canonical=True)] = entry
            if kid is not None and self._devices.setdefault(cbor2.dumps({4: kid}, canonical=True), entry) != entry:
                raise SettingsError("edhoc", place, "another device has this key id; use a different one")

    # --- For aiocoap's EDHOC ----------------------------------------------------------------------------------

    def find_all_used_contextless_oscore_kid(self) -> set[bytes | None]:
        """Ids that no new context may have; room is made for one first."""
        begun = [kid for kid, peer in self._made.items() if peer.context._incomplete]
        done = [kid for kid in self._made if kid not in begun]
        for kid in begun[: max(0, len(begun) - HANDSHAKES + 1)] + done[: max(0, len(done) - ESTABLISHED)]:
            self._forget(kid)
        return {kid for kid, context in self._by_id if context is None}

    def __setitem__(self, label: str, context: Any) -> None:
        """A handshake has begun."""
        kid = context.recipient_id
        self._made[kid] = self._by_id[kid, None] = Peer(next(self._numbers), context)

    def find_oscore(self, unprotected: Mapping[int, bytes]) -> Any:
        """The context that message 3 is for."""
        return self._by_id[unprotected.get(oscore.COSE_KID), None].context

    def find_edhoc_by_id_cred_peer(self, id_cred: bytes) -> tuple[bytes, list[str]]:
        """The credential that message 3 names, and whose it would be."""
        value, name = self._devices[id_cred]
        return value, [name]

    def _forget(self, kid: bytes) -> None:
        del self._made[kid], self._by_id[kid, None]


def _listed(key: str, directory: Path) -> list[Path]:
    try:
        return [place for place in directory.iterdir() if not place.name.startswith(".")]
    except OSError as error:
        raise SettingsError(key, directory, f"give a directory that can be read: {error.strerror}") from None


def _credential(place: Path) -> Any:
    """A CCS with a key in it (RFC 8392 §4, RFC 8747 §3.2), as `aiocoap-keygen` prints it."""
    credential = _read(place, lambda: edhoc.load_cbor_or_edn(place))
    try:
        assert set(credential) == {14}
        assert credential[14][8][1][1] == 2
    except (AssertionError, KeyError, TypeError):
        raise SettingsError("edhoc", place, "use what aiocoap-keygen prints: {14: {…, 8: {1: …}}}") from None
    return credential


def _read(place: Path, how: Any) -> Any:
    try:
        return how()
    except OSError as error:
        raise SettingsError("edhoc", place, f"give a file that can be read: {error.strerror}") from None
    except Exception as error:  # CBOR's parts raise what they raise
        raise SettingsError("edhoc", place, f"this can't be used: {error}") from None
