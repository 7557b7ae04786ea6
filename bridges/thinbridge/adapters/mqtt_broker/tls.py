"""The client's side of TLS: contexts from the listener's files, and one clear line where they can't be used."""

import ssl
from pathlib import Path

from thinbridge.adapters.mqtt_broker.settings import BrokerSettings
from thinbridge.errors import SettingsError


def check(settings: BrokerSettings, tls: bool) -> None:
    """Whether every file can be used now.

    Raises:
        SettingsError: one can't, or is given without TLS.
    """
    for key in ("tls_ca", "tls_certificate", "tls_key"):
        path = getattr(settings, key)
        if path and not tls:
            raise SettingsError(key, path, "use it with mqtts+broker://")
        _readable(key, path)
    _readable("password_file", settings.password_file)
    if not tls:
        return
    try:
        ssl.create_default_context(cafile=settings.tls_ca or None)
    except ssl.SSLError as error:
        raise SettingsError(
            "tls_ca", settings.tls_ca, f"give the PEM file of a certificate ({_reason(error)})"
        ) from error
    try:
        context(settings)
    except ssl.SSLError as error:
        fix = f"give PEM files of a certificate and its own key ({_reason(error)})"
        raise SettingsError("tls_certificate", settings.tls_certificate, fix) from error


def context(settings: BrokerSettings) -> ssl.SSLContext:
    """For one connection: files are replaced as certificates and authorities rotate."""
    made = ssl.create_default_context(cafile=settings.tls_ca or None)
    if settings.tls_certificate:
        made.load_cert_chain(settings.tls_certificate, settings.tls_key or None)
    return made


def _readable(key: str, path: str) -> None:
    try:
        if path:
            Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(key, path, f"give a file that can be read: {error.strerror}") from error


def _reason(error: ssl.SSLError) -> str:
    return str(error.reason or "no PEM").replace("_", " ").lower()
