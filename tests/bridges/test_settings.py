"""Settings: what beats what, what stands in for what, and every mistake as one line."""

import json
import re
import tomllib
from dataclasses import dataclass, fields
from enum import Enum
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from thinbridge import registry
from thinbridge.errors import SettingsError
from thinbridge.protocols.base import Scheme
from thinbridge.protocols.udp import UDP, UDPSettings
from thinbridge.routes import Destination, Mode, Route
from thinbridge.settings import Settings, load, parse_address, parse_listen
from thinbridge.settings.stream import StreamSettings

GOOD = {"listen": ["udp://127.0.0.1:9000"], "sink": "http://127.0.0.1:8080/"}
CASES: list[dict[str, Any]] = tomllib.loads((Path(__file__).parent / "bad_settings.toml").read_text("utf-8"))["case"]


def from_file(tmp_path: Path, text: str, **flags: object) -> Settings:
    file = tmp_path / "bridge.yaml"
    file.write_text(text, "utf-8")
    return load(flags, {}, file)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_bad_settings_are_one_line(case: dict[str, Any], tmp_path: Path) -> None:
    flags = {key: None if value == "unset" else value for key, value in (GOOD | case.get("flags", {})).items()}
    file = tmp_path / "bridge.yaml" if "file" in case else None
    if file is not None:
        file.write_text(case["file"], "utf-8")
    with pytest.raises(SettingsError) as caught:
        load(flags, case.get("env", {}), file)
    line = str(caught.value)
    assert line.replace(str(file), "FILE") == case["line"].replace("{installed}", ", ".join(registry.names()))
    assert line.isprintable()


def test_the_defaults_are_those_of_a_bridge_outside_a_cluster() -> None:
    settings = load(GOOD, {})
    assert (settings.name, settings.namespace, settings.mode) == ("bridge", "local", Mode.REQUEST)
    assert settings.sink == Destination("http://127.0.0.1:8080/")
    assert (settings.http.host, settings.http.port, settings.http.url) == ("127.0.0.1", 8090, None)
    [listener] = settings.listen
    assert (listener.name, listener.host, listener.port) == ("udp", "127.0.0.1", 9000)
    assert (listener.protocol, listener.options) == (UDP, UDPSettings())


def test_flags_beat_the_environment_beats_the_file_beats_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "bridge.yaml"
    file.write_text("name: file\ndrain: 1\nmode: event\nlog_level: error\n", "utf-8")
    environ = {"THINBRIDGE_NAME": "variable", "THINBRIDGE_DRAIN": "2"}
    settings = load({**GOOD, "name": "flag"}, environ, file, {"log_level": "debug", "log_format": "text"})
    assert (settings.name, settings.drain, settings.mode) == ("flag", 2, Mode.EVENT)
    assert (settings.log_level, settings.log_format) == ("error", "text")


def test_sections_are_merged_key_by_key(tmp_path: Path) -> None:
    file = tmp_path / "bridge.yaml"
    file.write_text("http: {url: 'http://bridge.example'}\nlimits: {sessions: 5, deliveries: 6}\n", "utf-8")
    settings = load({**GOOD, "http": "[::1]:0"}, {"THINBRIDGE_LIMITS": '{"deliveries": 7}'}, file)
    assert (settings.http.host, settings.http.port, settings.http.url) == ("::1", 0, "http://bridge.example")
    assert (settings.limits.sessions, settings.limits.deliveries) == (5, 7)


def test_every_key_is_a_variable() -> None:
    environ = {
        "THINBRIDGE_LISTEN": "udp:1, udp:2?name=door&idle=60",
        "THINBRIDGE_SINK": "http://sink/",
        "THINBRIDGE_DEAD_LETTER": "{uri: 'http://letters/'}",
        "THINBRIDGE_ROUTES": '[{"subject": "a/*", "mode": "later", "sink": "http://other/"}]',
        "THINBRIDGE_TRUSTED_NETWORKS": "10.0.0.0/8",
        "THINBRIDGE_CE_OVERRIDES": "{site: a}",
        "THINBRIDGE_SINK_FROM_BINDING": "true",
        "THINBRIDGE_HTTP": ":8090",
        "THINBRIDGE_MODE": "",
    }
    settings = load({}, environ)
    assert [(one.name, one.port, one.options.idle) for one in settings.listen] == [("udp", 1, 300), ("door", 2, 60)]
    assert settings.dead_letter == Destination("http://letters/")
    assert settings.routes == (Route(subject="a/*", mode=Mode.LATER, sink=Destination("http://other/")),)
    assert settings.trusted_networks == (IPv4Network("10.0.0.0/8"),)
    assert (settings.ce_overrides, settings.sink_from_binding) == ({"site": "a"}, True)
    assert (settings.http.host, settings.mode) == ("0.0.0.0", Mode.REQUEST)


def test_what_kubernetes_sets_beside_a_service_of_our_name_is_not_ours() -> None:
    links = ("SERVICE_HOST", "PORT", "PORT_5683_UDP", "SERVICE_PORT_HTTP", "A_SERVICE_HOST", "A_PORT_80_TCP_ADDR")
    load(GOOD, {f"THINBRIDGE_{link}": "tcp://10.0.0.1:80" for link in links})


def test_the_file_may_be_named_by_a_variable_and_be_empty(tmp_path: Path) -> None:
    file = tmp_path / "bridge.yaml"
    file.write_text("# nothing yet\n", "utf-8")
    assert load(GOOD, {"THINBRIDGE_CONFIG": str(file)}) == load(GOOD, {})


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^--config: .*: give a file that can be read: No such file or directory$"):
        load(GOOD, {}, tmp_path / "missing.yaml")
    with pytest.raises(SettingsError, match=r"give a file that can be read: Is a directory$"):
        load(GOOD, {}, tmp_path)
    (tmp_path / "deep.yaml").write_text("name: " + "[" * 5000)
    with pytest.raises(SettingsError, match=r"^.*deep.yaml: \(nested\): write it with fewer levels$"):
        load(GOOD, {}, tmp_path / "deep.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(SettingsError, match=r"^--config: .*: give a YAML file in UTF-8$"):
        load(GOOD, {}, tmp_path / "bytes.yaml")


# --- What a SinkBinding and a pod bring -------------------------------------------------------------------------


def test_k_sink_stands_in_for_the_sink() -> None:
    certificate = (Path(__file__).parent / "ca.pem").read_text("utf-8")
    environ = {"K_SINK": "https://sink/", "K_CA_CERTS": certificate, "K_CE_OVERRIDES": ""}
    settings = load({"listen": ["udp:9000"]}, environ)
    assert settings.sink == Destination("https://sink/", certificate)
    assert settings.ce_overrides == {}


def test_a_sink_that_was_given_beats_k_sink() -> None:
    assert load(GOOD, {"K_SINK": "http://other/"}).sink == Destination("http://127.0.0.1:8080/")


@pytest.mark.parametrize(
    ("text", "overrides"),
    [('{"extensions": {"site": "a", "n": "1"}}', {"site": "a", "n": "1"}), ("{}", {}), ('{"extensions": null}', {})],
)
def test_k_ce_overrides(text: str, overrides: dict[str, str]) -> None:
    assert load(GOOD, {"K_CE_OVERRIDES": text}).ce_overrides == overrides


def test_a_bridge_may_wait_for_its_binding() -> None:
    assert load({"listen": ["udp:9000"], "sink_from_binding": True}, {}).sink is None


@pytest.mark.parametrize(
    ("http", "pod", "url"),
    [
        ("0.0.0.0:8090", "10.0.0.7", "http://10.0.0.7:8090"),
        ("[::]:81", "fd00::7", "http://[fd00::7]:81"),
        (None, "10.0.0.7", "http://10.0.0.7:8090"),
        ("0.0.0.0:0", "10.0.0.7", None),  # known only once it is bound
        ("0.0.0.0:8090", "", None),
    ],
)
def test_the_pods_address_is_the_base_of_replyto(http: str | None, pod: str, url: str | None) -> None:
    assert load({**GOOD, "http": http}, {"POD_IP": pod, "POD_NAMESPACE": "site-a"}).http.url == url


# --- Listeners --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port", "options"),
    [
        ("udp:9001", "0.0.0.0", 9001, {}),
        ("udp", "0.0.0.0", 9000, {}),
        ("udp:0?idle=5", "0.0.0.0", 0, {"idle": "5"}),
        ("udp://127.0.0.1", "127.0.0.1", 9000, {}),
        ("udp://127.0.0.1:7/", "127.0.0.1", 7, {}),
        ("UDP://Localhost:7", "localhost", 7, {}),
        ("udp://[fd00::1]:7?name=a%20b&idle=", "fd00::1", 7, {"name": "a b", "idle": ""}),
        ("udp://[FE80::1%Eth0]:7", "fe80::1%Eth0", 7, {}),
        ("udp://[fe80::1%25eth0]:7?idle=5", "fe80::1%eth0", 7, {"idle": "5"}),
        ("udp://:7", "0.0.0.0", 7, {}),
    ],
)
def test_addresses_of_listeners(text: str, host: str, port: int, options: dict[str, str]) -> None:
    address = parse_listen(text)
    assert (address.protocol, address.host, address.port, address.options) == (UDP, host, port, options)


@pytest.mark.parametrize(
    ("text", "netloc"),
    [("8090", "127.0.0.1:8090"), (":8090", "0.0.0.0:8090"), ("http://[::1]:80/", "[::1]:80"), ("h:0", "h:0")],
)
def test_addresses_of_http(text: str, netloc: str) -> None:
    assert parse_address(text).netloc == netloc


@dataclass(frozen=True)
class ManySettings:
    """A key that may be given more than once."""

    subscribe: tuple[str, ...] = ()


class Many(UDP):
    name: ClassVar[str] = "many"
    Settings: ClassVar[type] = ManySettings  # type: ignore[assignment]


def test_a_list_in_a_url_is_a_key_that_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find", lambda name: Many)
    [one] = load({"listen": ["many:1?subscribe=a/%23&subscribe=b"], "sink": "http://fn/"}, {}).listen
    assert one.options == ManySettings(("a/#", "b"))
    [one] = load({"listen": ["many:1?subscribe=a"], "sink": "http://fn/"}, {}).listen
    assert one.options == ManySettings(("a",))


def test_nameless_listeners_get_free_names() -> None:
    settings = load({**GOOD, "listen": ["udp:1", "udp:2?name=udp-2", "udp:3", "udp:0", "udp:0"]}, {})
    assert [listener.name for listener in settings.listen] == ["udp", "udp-2", "udp-3", "udp-4", "udp-5"]


def test_the_file_may_have_listeners_in_short_and_in_full(tmp_path: Path) -> None:
    text = "listen: ['udp:1', {url: 'udp:2', name: door, idle: 7, max_datagram: 900}]\nsink: {uri: 'http://sink/'}\n"
    settings = from_file(tmp_path, text)
    assert [listener.options for listener in settings.listen] == [UDPSettings(), UDPSettings(7, 900)]


@dataclass(frozen=True)
class StrictSettings:
    low: int = 1
    high: int = 2

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("use a low that is not above high")


class Strict(UDP):
    name: ClassVar[str] = "strict"
    Settings: ClassVar[type] = StrictSettings  # type: ignore[assignment]


def test_a_scheme_says_what_connections_come_by_and_which_port() -> None:
    tls = "tls_certificate=a.pem"
    urls = [f"mqtts://h?{tls}", "mqtt+ws", f"mqtt+wss://h?{tls}", "mqtt", f"mqtt://h:7?{tls}&accept=tcp,wss&accept=ws"]
    listeners = load({**GOOD, "listen": urls}, {}).listen
    assert [(one.port, one.stream.accept) for one in listeners if one.stream] == [
        (8883, ("tls",)),
        (8083, ("ws",)),
        (8084, ("wss",)),
        (1883, ("tcp",)),
        (7, ("tcp", "wss", "ws")),
    ]
    assert {one.protocol.name for one in listeners} == {"mqtt"}
    assert load({**GOOD, "listen": ["udp:1"]}, {}).listen[0].stream is None


def test_a_protocol_may_check_its_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    find = registry.find

    def found(name: str) -> type[Scheme]:
        return Strict if name == "strict" else find(name)

    monkeypatch.setattr(registry, "find", found)
    with pytest.raises(SettingsError, match=r"^--listen: .*: use a low that is not above high$"):
        load({**GOOD, "listen": ["strict:1?low=3"]}, {})


# --- The model --------------------------------------------------------------------------------------------------


def test_the_model_yields_a_schema_whose_every_key_is_described() -> None:
    schema = Settings.model_json_schema()
    json.dumps(schema)
    assert all(key.get("description") for key in schema["properties"].values())
    for definition in ("Http", "Limits", "Listener"):
        assert all(key.get("description") for key in schema["$defs"][definition]["properties"].values())


def test_the_default_route_has_the_bridges_mode() -> None:
    assert load({**GOOD, "mode": "later"}, {}).default_route == Route(mode=Mode.LATER)


DOCS = (Path(__file__).parents[2] / "docs" / "settings.md").read_text("utf-8")
ROW = re.compile(r"^\| `([a-z_.]+)` \| ([^|]+?) \|", re.MULTILINE)


def written(default: object) -> str:
    """A default as the documentation has it."""
    if default in (None, (), {}, ""):
        return "–"
    if isinstance(default, tuple):
        return ", ".join(f"`{one}`" for one in default)
    if isinstance(default, Mode):
        return f"`{default.value}`"
    return f"`{str(default).lower()}`" if isinstance(default, bool) else f"`{default}`".replace(".0`", "`")


def test_the_documentation_has_every_key_and_its_default() -> None:
    defaults: dict[str, object] = {}
    for key, field in Settings.model_fields.items():
        if isinstance(field.default, BaseModel):
            defaults |= {f"{key}.{inner}": value for inner, value in field.default}
        else:
            defaults[key] = field.default
    documented = dict(ROW.findall(DOCS.split("### Streams")[0]))
    assert documented == {key: written(default) for key, default in defaults.items()}


def test_the_documentation_has_every_key_of_a_stream_and_its_default() -> None:
    documented = dict(ROW.findall(DOCS.split("### Streams")[1].split("## Routes")[0]))
    assert documented == {field.name: written(field.default) for field in fields(StreamSettings)}


def test_the_documentation_has_every_key_of_a_route_and_its_default() -> None:
    documented = dict(ROW.findall(DOCS.split("## Routes")[1]))
    assert documented == {
        field.name: written(default.value if isinstance(default := getattr(Route(), field.name), Enum) else default)
        for field in fields(Route)
    }
