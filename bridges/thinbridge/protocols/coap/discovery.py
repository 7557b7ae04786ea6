"""What there is: `/.well-known/core` in CoRE Link Format (RFC 6690), made of what the routes offer by name.

A session asks for every GET of that path, and answers it as if a function had said so.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Final
from urllib.parse import quote

from thinbridge.protocols.base import NO_ATTRIBUTES, Outcome, Reply, Resource
from thinbridge.protocols.coap.codes import GET, METHOD_NOT_ALLOWED
from thinbridge.protocols.coap.content_formats import content_format
from thinbridge.protocols.coap.request import Refused, Request

PATH: Final = ".well-known/core"
MEDIA_TYPE: Final = "application/link-format"

_URI: Final = "/%!$&'()*+,;=:@"
"""What a path has beside letters, digits and `-._~` (RFC 3986 §3.3); a subject's own `%` stands for itself."""
_ORDER: Final = ("rt", "if", "ct", "obs", "sz", "title")
_NUMBERS: Final = ("sz",)
"""Written without quotes (RFC 6690 §2)."""


def asked(request: Request, resources: Sequence[Resource]) -> bool:
    """Whether a request asks what there is; a route that has that path itself leaves the answer to its function.

    Raises:
        Refused: 4.05: it can only be read.
    """
    if request.subject != PATH or any(resource.subject == PATH for resource in resources):
        return False
    if request.method != GET:
        raise Refused((METHOD_NOT_ALLOWED, [], b"it can only be read"), "method")
    return True


def answer(
    resources: Iterable[Resource], arguments: Sequence[bytes], conditions: Mapping[str, str] = NO_ATTRIBUTES
) -> Reply:
    """The links to what matches all arguments of the query (RFC 6690 §4.1). None of them: an empty answer.

    Args:
        resources: what is offered.
        arguments: Uri-Query, as it came: `rt=light*`, `href=/sensors*`, `obs`.
        conditions: the request's attributes, of which `coapifmatch` and `coapifnonematch` say when not to answer.
    """
    offered: dict[str, Resource] = {}
    for resource in resources:
        offered.setdefault(resource.subject, resource)  # the first route that matches takes a message, too
    links = [_link(one) for one in offered.values() if all(_matches(one, argument) for argument in arguments)]
    data = ",".join(links).encode()
    etag = blake2b(data, digest_size=4).hexdigest()
    wanted = conditions.get("coapifmatch", "").split(",")  # an empty one matches whatever there is (RFC 7252 §5.10.8)
    if "coapifnonematch" in conditions or ("" not in wanted and etag not in wanted):
        return Reply(Outcome.REFUSED, 412)
    return Reply(Outcome.ACCEPTED, 200, MEDIA_TYPE, data, {"coapetag": etag})


def _target(resource: Resource) -> str:
    return "/" + quote(resource.subject, safe=_URI)


def _link(resource: Resource) -> str:
    attributes = _attributes(resource.attributes)
    named = [f";{_parameter(name, attributes[name])}" for name in _ORDER if name in attributes]
    return f"<{_target(resource)}>{''.join(named)}"


def _parameter(name: str, value: str) -> str:
    """A link-param (RFC 6690 §2): a flag, a number, or a quoted string."""
    if name == "obs":
        return name  # RFC 7641 §6: it has no value
    if name in _NUMBERS or (name == "ct" and value.isdigit()):
        return f"{name}={value}"
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name}="{quoted}"'


def _attributes(said: Mapping[str, str]) -> Mapping[str, str]:
    """What a route says of a resource, as links have it: `obs: false` is no flag, media types are numbers."""
    attributes = {name: value for name, value in said.items() if name != "obs" or value != "false"}
    formats = [one if one.isdigit() else content_format(one) for one in attributes.pop("ct", "").split()]
    if numbers := [str(one) for one in formats if one is not None]:
        attributes["ct"] = " ".join(numbers)
    return attributes


def _matches(resource: Resource, argument: bytes) -> bool:
    """One search criterion; a `*` at the end of its value is for any end."""
    name, equals, wanted = argument.decode("utf-8", "replace").partition("=")
    if name == "href":
        values = [_target(resource)]
    else:
        attributes = _attributes(resource.attributes)
        if name not in attributes or not equals:
            return name in attributes
        value = attributes[name]
        values = [value] if name == "title" else value.split()  # RFC 6690 §4.1: any of the values that blanks separate
    if wanted.endswith("*"):
        return any(value.startswith(wanted[:-1]) for value in values)
    return wanted in values
