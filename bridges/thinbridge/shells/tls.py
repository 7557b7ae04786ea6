"""TLS as a layer: OpenSSL between two memory buffers, so that one code serves every event loop, and tests without any.

The loops' own TLS would want a second mechanism for what is sniffed or carries a WebSocket, and takes a third more
time for a small message (uvloop 0.23). `certificates` makes the contexts.
"""

import ssl
from collections.abc import Mapping
from typing import Any, Final

from thinbridge.protocols.base import Identity
from thinbridge.shells.layers import Layer

RECORD: Final = 16_384
"""Bytes of a record (RFC 8446 §5.1). No more goes through a memory buffer at a time: it grows, and never shrinks."""

MAX_NAME: Final = 256
"""Characters of a device's name: it becomes `authid` and `deviceid`, headers of every event."""


class TLSLayer(Layer):
    """The server's side of one connection.

    Args:
        context: the server's certificate, and perhaps the authority of its devices.
        name_from: which name in a device's certificate is the device's: `cn`, `dns` or `uri`.
    """

    def __init__(self, context: ssl.SSLContext, name_from: str = "cn") -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._in, self._out, server_side=True)
        self._name_from = name_from
        self._records: list[bytes] = []

    def receive(self, data: bytes) -> bytes:
        """Records, in pieces of any size."""
        plain: list[bytes] = []
        for at in range(0, len(data), RECORD):
            if not self.over:
                self._in.write(data[at : at + RECORD])
                self._read(plain)
        return b"".join(plain)

    def _read(self, plain: list[bytes]) -> None:
        try:
            if not self.open:
                self._ssl.do_handshake()
                self._greeted()
            while not self.over:
                data = self._ssl.read(RECORD)
                plain.append(data)
                self.over = not data  # close_notify
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLError, ValueError) as error:  # ValueError: a certificate that `ssl` can't put into words
            self.over, self.fault = True, fault(error)
        self._keep()

    def _greeted(self) -> None:
        """The handshake is done; who has a certificate that was proven must have a name."""
        certificate: Mapping[str, Any] | None = self._ssl.getpeercert()
        if certificate:
            name = device_name(certificate, self._name_from)
            if name is None:
                self.over, self.fault = True, "certificate_unnamed"
                return
            self.identity = Identity("x509", name)
        self.open = True

    def send(self, data: bytes) -> None:
        """Bytes for the device; whoever is beyond hearing gets none."""
        try:
            for at in range(0, len(data), RECORD):
                self._ssl.write(data[at : at + RECORD])
                self._keep()
        except ssl.SSLError:
            self.over = True

    def close(self) -> None:
        """close_notify; its answer is not waited for (RFC 8446 §6.1)."""
        try:
            self._ssl.unwrap()
        except ssl.SSLError:
            pass  # the device has not said its own yet, or the handshake is not done
        self._keep()

    def _keep(self) -> None:
        if self._out.pending:
            self._records.append(self._out.read())

    def data_to_send(self) -> bytes:
        """Records."""
        records, self._records = self._records, []
        return b"".join(records)


def fault(error: Exception) -> str:
    """Which of the counters an error belongs to."""
    reason = getattr(error, "reason", None) or ""
    if isinstance(error, ssl.SSLCertVerificationError) or reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "certificate_refused"
    return "tls_alert" if "_ALERT_" in reason else "tls_failed"  # an alert: the device does not trust us


def device_name(certificate: Mapping[str, Any], name_from: str) -> str | None:
    """The device's name in a certificate as `ssl` has it; None: there is none that can be used, or more than one.

    A name with a NUL in it has fooled others (CVE-2009-2408).
    """
    if name_from == "cn":
        names = [value for part in certificate.get("subject", ()) for kind, value in part if kind == "commonName"]
    else:
        names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == name_from.upper()]
    if len(names) != 1 or not names[0].isprintable() or not 0 < len(names[0]) <= MAX_NAME:
        return None
    name: str = names[0]
    return name
