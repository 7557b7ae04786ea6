"""The settings of a bridge; each key's docstring is its documentation: what it is, its unit, why this default.

The model is plain (objects, lists, scalars), so that it also yields the schema of a Kubernetes resource. The protocols'
own keys are not in it: a listener's remaining keys are checked against its protocol's `Settings` dataclass.
"""

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from thinbridge.errors import SettingsError
from thinbridge.protocols.base import Scheme
from thinbridge.routes import Destination, Mode, Route
from thinbridge.settings import checks
from thinbridge.settings.faults import fault, refault, unknown
from thinbridge.settings.listen import Address, parse_address, parse_listen
from thinbridge.settings.stream import StreamSettings, is_stream

Name = Annotated[str, AfterValidator(checks.name)]
Sink = Annotated[Destination, BeforeValidator(checks.sink)]
DeadLetter = Annotated[Destination, BeforeValidator(checks.destination)]
Terms = Annotated[Route, BeforeValidator(checks.route), AfterValidator(checks.numbers)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(checks.network)]
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]

URL_FIX: Final = "use a URL, such as coap:5683 or coap://127.0.0.1:5683"

LOCAL: Final = "local"
"""The namespace outside a cluster."""

RELOADED: Final = ("routes", "mode", "limits", "dead_letter")
"""Keys that a running bridge rereads when its file changes; all others take a restart."""


class Model(BaseModel):
    """What all of them have in common: immutable, documented by docstrings, no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    extensible: ClassVar[bool] = False

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: object) -> object:
        if isinstance(data, dict) and not cls.extensible and (problem := unknown(data, cls.model_fields)):
            raise problem
        return data


class Listener(Model):
    """One endpoint. Keys that are not listed here are its protocol's own: `thinbridge protocols list` shows them."""

    model_config = ConfigDict(extra="allow")
    extensible = True

    url: str
    """Where: `coap://127.0.0.1:5683`, or `coap:5683` for all addresses. Options may stand in its query."""
    name: Name = ""
    """The endpoint's name in metrics, routes and health; unless given, its protocol's, then `coap-2` and so on."""

    _address: Address = PrivateAttr()
    _options: Any = PrivateAttr()
    _stream: StreamSettings | None = PrivateAttr()

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: object) -> object:
        """A bare URL, and a URL's query, become keys."""
        keys = {"url": data} if isinstance(data, str) else data
        if not isinstance(keys, dict):
            raise fault(data, URL_FIX)
        if not isinstance(keys.get("url", ""), str):
            raise fault(keys["url"], URL_FIX, "url")
        if "url" not in keys:
            return keys
        try:
            options = parse_listen(keys["url"]).options
        except SettingsError as error:
            raise fault(error.value, error.fix) from error
        if twice := options.keys() & keys.keys():
            raise fault(keys["url"], f"give {min(twice)} once: as a key or in the URL")
        return options | keys

    @model_validator(mode="after")
    def _other_keys(self) -> Self:
        """Check the remaining keys against the protocol's own `Settings`, and a stream's against `StreamSettings`."""
        self._address = parse_listen(self.url)
        extra = self.__pydantic_extra__ or {}
        stream = checks.dataclass_keys(StreamSettings) if is_stream(self.protocol) else []
        if problem := unknown(extra, ["name", "url", *stream, *checks.dataclass_keys(self.protocol.Settings)]):
            raise problem
        own = {key: value for key, value in extra.items() if key not in stream}
        self._options = _dataclass(self.protocol.Settings, own)
        self._stream = _dataclass(StreamSettings, {key: extra[key] for key in extra.keys() - own}) if stream else None
        return self

    @property
    def protocol(self) -> type[Scheme]:
        """What the URL's scheme stands for."""
        assert self._address.protocol is not None
        return self._address.protocol

    @property
    def host(self) -> str:
        """Name or address to bind, IPv6 without brackets."""
        return self._address.host

    @property
    def port(self) -> int:
        """Port to bind; 0: the kernel chooses."""
        return self._address.port

    @property
    def options(self) -> Any:
        """An instance of the protocol's `Settings`."""
        return self._options

    @property
    def stream(self) -> StreamSettings | None:
        """What connections come by; None: it is no stream, or a library's."""
        return self._stream


def _dataclass(cls: type, values: dict[str, Any]) -> Any:
    try:
        return checks.numbers(TypeAdapter(cls).validate_python(values))
    except ValidationError as error:
        raise refault(error) from error
    except SettingsError as error:  # the class's own check of its keys
        raise fault(error.value, error.fix, error.key) from error


class Http(Model):
    """The bridge's own HTTP side: health, metrics, and the inbox that `replyto` points to."""

    listen: str = "127.0.0.1:8090"
    """Where it listens; loopback, since whoever reaches the inbox can write to devices whose `replyto` it knows. A pod
    says `0.0.0.0:8090`."""
    url: str | None = None
    """The base of `replyto`, as functions reach it: `http://$POD_IP:<port>`, else the bound address."""

    token_file: str | None = None
    """A file with the token that `POST /observe/<subject>` takes as `Authorization: Bearer …`; read again when it
    changes. Without one, only an inbox on loopback lets anybody publish, since a subject is no secret."""

    _address: Address = PrivateAttr()

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: object) -> object:
        return {"listen": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _parse(self) -> Self:
        try:
            self._address = parse_address(self.listen)
        except SettingsError as error:
            raise fault(error.value, error.fix, "listen") from error
        if self.url is not None:
            checks.uri(self.url, "url")
        return self

    @property
    def host(self) -> str:
        """Name or address to bind, IPv6 without brackets."""
        return self._address.host

    @property
    def port(self) -> int:
        """Port to bind; 0: the kernel chooses."""
        return self._address.port


class Limits(Model):
    """What is bounded for the whole bridge, so that no device and no sink can take all of its memory."""

    sessions: Count = 100_000
    """Sessions of one endpoint. One takes about 3 kB (UDP), 5 kB (CoAP) or 10 kB (MQTT, with its connection): 100,000
    want a pod of 1 GiB, of MQTT one of 2, and a smaller pod says less. When it is reached, the one goes that is silent
    for longest and owes nothing."""
    connections_per_address: Count = 512
    """Stream connections from one address: a gateway or a NAT is one address for many devices."""
    deliveries: Count = 4096
    """Deliveries in flight, retries included: at 1,000 messages a second, a cold start of four seconds. More wait where
    their device keeps them anyway (MQTT QoS 1), and are refused by the protocol's own word for busy elsewhere."""
    held_bytes: Count = 128 * 1024 * 1024
    """Bytes of all messages that wait for their sink, about; more are refused. Each may be there twice, as an event and
    as its request: with 256 MiB a pod of 1 GiB has room for its sessions."""
    answer: Count = 8 * 1024 * 1024
    """Bytes of a function's answer; a longer one can't be used. A firmware image of 5 MiB, also where an event has it
    as base64."""
    held_answers: Count = 64 * 1024 * 1024
    """Bytes of long answers (over 64 KiB) that are read from functions at a time; the others wait their turn, so that
    500 devices may ask for 5 MiB at once."""
    body: Count = 256 * 1024
    """Bytes of a POST to the inbox: the largest packet that an MQTT client commonly takes."""


class Settings(Model):
    """A bridge. A key is also a flag, `--dead-letter`, and a variable, `THINBRIDGE_DEAD_LETTER`."""

    name: Name = "bridge"
    """The bridge's name, in `source`: `/apis/v1/namespaces/<namespace>/bridges/<name>`."""
    namespace: Name = LOCAL
    """The namespace, in `source` and `Kn-Namespace`: `$POD_NAMESPACE` in a pod, `local` outside a cluster."""
    listen: tuple[Listener, ...] = Field((), validate_default=True, min_length=1)
    """The endpoints; at least one."""
    sink: Sink | None = None
    """Where events go: `{uri: …, ca_certs: PEM}`; `$K_SINK` and `$K_CA_CERTS` stand in for it."""
    sink_from_binding: bool = False
    """Wait, not ready, until a SinkBinding has set `$K_SINK`, instead of refusing to start without a sink."""
    dead_letter: DeadLetter | None = None
    """Where an event goes that the sink did not take; without it, the device is told that it failed."""
    mode: Mode = Mode.REQUEST
    """What a device's answer waits for where no route says it: `request`, the function's answer; `event`, the sink's
    acceptance; `later`, the answer now or by `replyto`."""
    routes: tuple[Terms, ...] = ()
    """Which events go elsewhere or on other terms; the first that matches wins."""
    http: Http = Http()
    """The bridge's own HTTP side; `--http` is its `listen`."""
    limits: Limits = Limits()
    """What is bounded for the whole bridge."""
    trusted_networks: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
    """Networks whose source addresses can't be forged: answers to them may be more than three times as long as what
    they sent. Loopback only, since an open network carries forged addresses."""
    ce_overrides: Annotated[dict[str, str], AfterValidator(checks.extensions)] = {}
    """Extension attributes set on every event, over all others: `$K_CE_OVERRIDES`."""
    drain: Seconds = 25.0
    """Seconds after SIGTERM in which open work may finish: a pod has 30 until it is killed."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """`auto` is text on a terminal, else one JSON object a line."""

    @field_validator("listen")
    @classmethod
    def _name_all(cls, listeners: tuple[Listener, ...]) -> tuple[Listener, ...]:
        """Give the nameless their scheme, or `coap-2`; refuse what would bind, or be called, the same."""
        names = {listener.name for listener in listeners if listener.name}
        named: list[Listener] = []
        bound: set[tuple[object, ...]] = set()
        for index, listener in enumerate(listeners):
            place = (listener.protocol.transport, listener.host, listener.port)
            if listener.port and listener.protocol.listens and place in bound:
                raise fault(listener.url, "another listener has this port; use a different one", index)
            if listener.name in {other.name for other in named}:
                raise fault(listener.name, "another listener has this name; use a different one", index, "name")
            bound.add(place)
            name = listener.name or _free_name(listener.protocol.name, names)
            names.add(name)
            named.append(listener.model_copy(update={"name": name}))
        return tuple(named)

    @model_validator(mode="after")
    def _has_sink(self) -> Self:
        if self.sink is None and not self.sink_from_binding:
            raise fault(
                "(none)", "say where events go, such as http://127.0.0.1:8080/, or use --sink-from-binding", "sink"
            )
        return self

    @property
    def default_route(self) -> Route:
        """The terms of events that no route takes."""
        return Route(mode=self.mode)


def _free_name(scheme: str, taken: set[str]) -> str:
    number = 1
    while (name := scheme if number == 1 else f"{scheme}-{number}") in taken:
        number += 1
    return name
