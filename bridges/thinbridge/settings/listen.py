"""Addresses as people write them; one parser for every command. `coap:5683` is short for `coap://0.0.0.0:5683`."""

import re
from dataclasses import dataclass, field, fields
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from thinbridge import registry
from thinbridge.errors import SettingsError
from thinbridge.protocols.base import Scheme
from thinbridge.settings.stream import StreamSettings, is_stream

EVERYWHERE: Final = "0.0.0.0"
"""The host of an address that names none."""
LOOPBACK: Final = "127.0.0.1"
"""Where HTTP listens when only a port is said."""

SECURE: Final = {"coaps": "DTLS is not there yet; use coap"}
"""What people try, for good reasons, and what to say to it unless somebody's protocol has that scheme."""

SHORT: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)(?P<port>:[^/?@:\[\]]*)?(?P<query>\?.*)?")
"""`coap`, `coap:5683`, `udp:9000?idle=60`: a scheme and perhaps a port."""

PLACE: Final = re.compile(r"(?P<host>\[[^\]]+\]|[^:\[\]]*)(?::(?P<port>[^:\[\]]*))?")
"""A host and perhaps a port; only an IPv6 address has brackets, and only there the host has colons."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    """Name or address, IPv6 without its brackets."""
    port: int
    """0: the kernel chooses."""
    protocol: type[Scheme] | None = None
    """None: HTTP, the bridge's own side."""
    options: dict[str, str | list[str]] = field(default_factory=dict)
    """Keys of the query: the protocol's own settings, and `name`; one that is there twice has a list of values."""

    @property
    def netloc(self) -> str:
        """`host:port`, as it stands in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(text: str, key: str = "listen") -> Address:
    """Parse a listener: `scheme://host:port?option=value`, or short `scheme:port`; the port defaults to the protocol's.

    Raises:
        SettingsError: it is no such address, or no protocol of that scheme is installed.
    """
    short = SHORT.fullmatch(text)
    url = f"{short['scheme']}://{EVERYWHERE}{short['port'] or ''}{short['query'] or ''}" if short else text
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise SettingsError(key, text, "write it as scheme://host:port, such as coap://127.0.0.1:5683")
    scheme = scheme.lower()
    protocol = _protocol(scheme, text, key)
    carrier, port = registry.schemes(protocol)[scheme]
    host, port = _host_port(rest, text, key, port)
    if host == EVERYWHERE and not protocol.listens:
        raise SettingsError(key, text, f"say whom it connects to: {scheme}://host:{port}")
    options = _options(url, protocol, text, key)
    if scheme != protocol.name and options.setdefault("accept", [carrier]) != [carrier]:
        raise SettingsError(key, text, f"leave accept out, which {scheme} says; or write {protocol.name}://")
    return Address(host, port, protocol, options)


def parse_address(text: str, key: str = "http") -> Address:
    """Parse where HTTP listens: `host:port`; `port` is on loopback, since everywhere must be said: `0.0.0.0:port`.

    Raises:
        SettingsError: it is no such address.
    """
    rest = text.removeprefix("http://").removesuffix("/")
    host, port = _host_port(f"{LOOPBACK}:{rest}" if rest.isdecimal() else rest, text, key, None)
    return Address(host, port)


def _protocol(scheme: str, text: str, key: str) -> type[Scheme]:
    try:
        return registry.find(scheme)
    except SettingsError as error:
        raise SettingsError(key, text, SECURE.get(scheme, error.fix)) from error


def _host_port(rest: str, text: str, key: str, default: int | None) -> tuple[str, int]:
    """The host and port of what follows `://`."""
    place = rest.partition("?")[0].removesuffix("/")
    if set(place) & set("/@#"):
        raise SettingsError(key, text, "leave out everything but host and port")
    found = PLACE.fullmatch(place)
    if found is None:
        raise SettingsError(key, text, "write an IPv6 address in brackets: [::1]:5683")
    port = found["port"] or default
    if port is None:
        raise SettingsError(key, text, "add a port, such as 127.0.0.1:8090")
    if not re.fullmatch("[0-9]{1,5}", str(port)) or int(port) > 65535:
        raise SettingsError(key, text, "use a port from 0 to 65535")
    host, mark, zone = found["host"].strip("[]").partition("%")
    zone = zone.removeprefix("25")  # RFC 6874: a URL's own way to write the `%`
    return f"{host.lower()}{mark}{zone}" or EVERYWHERE, int(port)


def _options(url: str, protocol: type[Scheme], text: str, key: str) -> dict[str, str | list[str]]:
    options: dict[str, str | list[str]] = {}
    known = [*fields(protocol.Settings), *(fields(StreamSettings) if is_stream(protocol) else ())]
    lists = {one.name for one in known if isinstance(one.default, tuple)}
    for name, value in parse_qsl(urlsplit(url).query, keep_blank_values=True):
        if name in lists:
            options[name] = [*options.get(name, ()), value]
        elif name in options:
            raise SettingsError(key, text, f"give {name} once")
        else:
            options[name] = value
    return options
