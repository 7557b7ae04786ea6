"""Checks that a type can't express; `model` hangs them onto its fields. Each raises `fault` with the way out."""

import math
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import fields
from ipaddress import ip_network
from typing import Any, Final
from urllib.parse import urlsplit

from thinbridge import contract
from thinbridge.routes import GLOB, Destination, Route
from thinbridge.settings.faults import fault, unknown
from thinbridge.settings.listen import SECURE

NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")

LINK_ATTRIBUTES: Final = ("rt", "if", "ct", "obs", "title", "sz")
"""What can be said of a resource (RFC 6690 §3, RFC 7641 §6)."""

HTTP: Final = ("http", "https")
COAP: Final = ("coap", "coap+tcp")
"""Schemes of URLs that events go to; a message that goes to CoAP is forwarded, and no event."""

EXTENSION: Final = re.compile(r"[a-z0-9]{1,20}")
CONTEXT: Final = ("id", "source", "specversion", "type", "datacontenttype", "dataschema", "subject", "time", "data")


def name(value: str) -> str:
    """A Kubernetes name (RFC 1123): it becomes part of `source`, of metric labels and of a UDP message's `subject`."""
    if not NAME.fullmatch(value):
        raise fault(value, "use up to 63 small letters, digits, - and ., the first and last a letter or digit")
    return value


def destination(value: object) -> object:
    """Known keys, an absolute URL, readable certificates; `http://…` is short for `{uri: http://…}`."""
    return _destination(value)


def sink(value: object) -> object:
    """The same; it may be a CoAP server, too."""
    return _destination(value, schemes=(*HTTP, *COAP))


def route(value: object) -> object:
    """Known keys, the same for its destinations, and no MQTT wildcards: taken as text, they would match nothing."""
    if not isinstance(value, Mapping):
        return value
    if problem := unknown(value, dataclass_keys(Route)):
        raise problem
    _glob(value.get("subject"))
    _names(value.get("reply"), contract.REPLY_ATTRIBUTES, "reply")
    _names(value.get("resource"), LINK_ATTRIBUTES, "resource")
    _named(value)
    schemes = {"sink": (*HTTP, *COAP), "dead_letter": HTTP}
    places = {key: _destination(value[key], key, schemes=schemes[key]) for key in schemes if key in value}
    return {**value, **places}


def _glob(subject: object) -> None:
    levels = subject.split("/") if isinstance(subject, str) else []
    if set(levels) & {"+", "#"}:
        glob = "/".join("*" if level in ("+", "#") else level for level in levels)
        raise fault(subject, f"subjects are globs: use {glob}", "subject")


def _names(attributes: object, known: Sequence[str], key: str) -> None:
    if isinstance(attributes, Mapping) and (problem := unknown(attributes, known, key)):
        raise problem


def _named(route: Mapping[Any, Any]) -> None:
    """What devices are told of has one name: of a pattern they would never hear."""
    subject = route.get("subject", "*")
    if route.get("resource") and isinstance(subject, str) and set(subject) & GLOB:
        raise fault(subject, "name one resource, without *, ? and [: devices are told of it", "subject")


def extensions(value: dict[str, str]) -> dict[str, str]:
    """Names of extension attributes (CloudEvents 1.0.2 §3.1), none of them a name that CloudEvents itself defines."""
    for key in value:
        if not EXTENSION.fullmatch(key) or key in CONTEXT:
            raise fault(value[key], "use an extension's name: up to 20 small letters and digits", key)
    return value


def network(value: object) -> object:
    """One network, written as such: bits of a host in it are a mistake."""
    try:
        return ip_network(value if isinstance(value, str) else "")
    except ValueError as error:
        raise fault(value, "use a network, such as 10.0.0.0/8 or fd00::/8") from error


def numbers(value: Any) -> Any:
    """No number of a settings dataclass is negative or endless."""
    for key in dataclass_keys(type(value)):
        number = getattr(value, key)
        if isinstance(number, (int, float)) and not 0 <= number < math.inf:
            raise fault(number, "use a number that is not negative", key)
    return value


def dataclass_keys(cls: Any) -> list[str]:
    """The keys of a settings dataclass."""
    return [field.name for field in fields(cls)]


def _destination(value: object, *at: str, schemes: Sequence[str] = HTTP) -> object:
    data = {"uri": value} if isinstance(value, str) else value
    if isinstance(data, Mapping):
        if schemes == HTTP and str(data.get("uri")).partition(":")[0] in COAP:
            raise fault(data["uri"], "use http or https: a dead letter is an event", *at)
        if problem := unknown(data, dataclass_keys(Destination), *at):
            raise problem
        uri(data.get("uri"), *at, schemes=schemes)
        _pem(data.get("ca_certs"), *at)
    return data


def uri(value: object, *at: str, schemes: Sequence[str] = HTTP) -> None:
    """An absolute URL, of HTTP unless other schemes are named, without user and password."""
    if not isinstance(value, str):
        return  # the type is pydantic's to refuse
    if schemes != HTTP and (scheme := value.partition(":")[0]) in SECURE:
        raise fault(value, SECURE[scheme], *at)
    try:
        parts = urlsplit(value)
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "@" in parts.netloc or not value.isascii() or not value.isprintable() or " " in value:
        raise fault(value, "use an absolute URL, such as http://127.0.0.1:8080/", *at)


def _pem(pem: object, *at: str) -> None:
    if not isinstance(pem, str):
        return
    try:
        ssl.create_default_context(cadata=pem)
    except (ssl.SSLError, ValueError) as error:
        raise fault(pem, "use the PEM text of one or more certificates", *at, "ca_certs") from error
