"""TLS contexts from files that are replaced while the bridge runs: certificates rotate, connections stay.

`stream` asks for the context of each new connection; whether the files are others than before is looked up then, and
not more often than every few seconds. So no task waits for what happens a few times a year.
"""

import logging
import os
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from thinbridge.errors import SettingsError

CHECKED: Final = 5.0
"""Seconds between two looks: no more than a few system calls, and soon enough, since Kubernetes takes a minute to
bring a Secret that has changed to its pods."""

LOG: Final = logging.getLogger("thinbridge")


class Certificates:
    """The certificate of a listener, and the authority of its devices.

    Args:
        certificate: PEM file: the certificate, then its chain.
        key: PEM file of its private key; empty: it is in `certificate`, too.
        client_ca: PEM file of the authorities whose devices may connect; empty: devices show no certificate.
        alpn: names of what is carried (RFC 7301), the best first.
        counters: where it is counted that files were replaced by what can't be used.

    Raises:
        SettingsError: one of them can't be used.
    """

    def __init__(self, certificate: str, key: str, client_ca: str, alpn: Sequence[str], counters: Counter[str]) -> None:
        self._files = {"tls_certificate": certificate, "tls_key": key or certificate, "tls_client_ca": client_ca}
        self._alpn = alpn
        self._counters = counters
        self._seen = self._look()
        self._next: float | None = None
        self._context = self._make()

    def context(self, now: float) -> ssl.SSLContext:
        """For a new connection; of the files as they are, or as they were when they last could be used."""
        if self._next is None or now >= self._next:
            self._next = now + CHECKED
            if (seen := self._look()) != self._seen:
                self._seen = seen
                self._remake()
        return self._context

    def _remake(self) -> None:
        try:
            self._context = self._make()
            LOG.info("certificate %s was read again", self._files["tls_certificate"])
        except SettingsError as error:
            self._counters["certificate_unusable"] += 1
            LOG.error("the old certificate stays in use: %s", error)

    def _look(self) -> list[tuple[int, int, int] | None]:
        """What changes with a file; a link is followed, since a Secret's are replaced by one's new target."""
        return [_stamp(path) for path in self._files.values() if path]

    def _make(self) -> ssl.SSLContext:
        for key, path in self._files.items():
            if path:
                _readable(key, path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996
        context.options |= ssl.OP_NO_RENEGOTIATION  # a device's to ask for, and ours to pay
        if self._alpn:
            context.set_alpn_protocols(list(self._alpn))
        self._load_chain(context)
        if authority := self._files["tls_client_ca"]:
            _load_authority(context, "tls_client_ca", authority)
            context.verify_mode = ssl.CERT_REQUIRED
        _warn(self._files["tls_certificate"])
        return context

    def _load_chain(self, context: ssl.SSLContext) -> None:
        certificate, key = self._files["tls_certificate"], self._files["tls_key"]
        try:
            context.load_cert_chain(certificate, key, _no_passphrase(key))
        except OSError as error:  # ssl.SSLError is one, too
            if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
                raise SettingsError(
                    "tls_key", key, "give the private key of tls_certificate; this is another's"
                ) from error
            _load_authority(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "tls_certificate", certificate)
            raise SettingsError("tls_key", key, "give the PEM file of a private key") from error


# --- Files ------------------------------------------------------------------------------------------------------


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _readable(key: str, path: str) -> None:
    try:
        Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(key, path, f"give a file that can be read: {error.strerror}") from error


def _load_authority(context: ssl.SSLContext, key: str, path: str) -> None:
    try:
        context.load_verify_locations(path)
    except OSError as error:
        raise SettingsError(key, path, f"give the PEM file of a certificate ({_reason(error)})") from error


def _no_passphrase(path: str) -> Callable[[], str]:
    """Asked for the passphrase of a key: nobody is there who could type one."""

    def refuse() -> str:
        raise SettingsError("tls_key", path, "give a key without a passphrase: nobody is there to type it")

    return refuse


def _reason(error: OSError) -> str:
    return (getattr(error, "reason", None) or error.strerror or "no PEM").lower().replace("_", " ")


# --- Dates ------------------------------------------------------------------------------------------------------


def _warn(path: str) -> None:
    """Devices that look at the date will not connect; those that have no clock will."""
    try:
        begin, end = validity(Path(path).read_text("ascii", "replace"))
    except (OSError, ValueError, IndexError):
        return  # OpenSSL took it; it may be replaced just now
    now = datetime.now(UTC)
    if now > end:
        LOG.warning("certificate %s has expired on %s", path, f"{end:%Y-%m-%d}")
    elif now < begin:
        LOG.warning("certificate %s is not valid before %s", path, f"{begin:%Y-%m-%d %H:%M} UTC")


def validity(pem: str) -> tuple[datetime, datetime]:
    """From when until when the first certificate of a PEM text is valid (RFC 5280 §4.1.2.5).

    `ssl` tells it of peers' certificates only.

    Raises:
        ValueError, IndexError: there is no certificate.
    """
    first = pem.index(ssl.PEM_HEADER), pem.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)
    certificate = ssl.PEM_cert_to_DER_cert(pem[slice(*first)])
    tbs = _elements(_elements(_elements(certificate)[0][1])[0][1])
    at = 4 if tbs[0][0] == VERSION else 3  # then serialNumber, signature, issuer, validity
    begin, end = (_time(*element) for element in _elements(tbs[at][1]))
    return begin, end


VERSION: Final = 0xA0
UTC_TIME: Final = 0x17


def _elements(der: bytes) -> list[tuple[int, bytes]]:
    """The elements of a DER sequence's content: tag and content of each (X.690 §8.1)."""
    found, at = [], 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(der[at : at + size]), at + size
        found.append((tag, der[at : at + length]))
        at += length
    return found


def _time(tag: int, content: bytes) -> datetime:
    """UTCTime has two digits of the year, 50 to 49 (RFC 5280 §4.1.2.5.1); GeneralizedTime four."""
    text = content.decode("ascii")
    if tag == UTC_TIME:
        text = ("19" if text[0] >= "5" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
