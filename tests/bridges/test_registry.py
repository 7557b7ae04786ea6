"""The registry: what is found, what is refused, and that a broken stranger stops nobody else."""

from collections.abc import Callable, Iterator
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path

import pytest

from thinbridge import registry
from thinbridge.errors import SettingsError
from thinbridge.protocols.base import Adapter, Endpoint, Limits, Protocol, Transport
from thinbridge.protocols.udp import UDP


class Stranger(UDP):
    name = "stranger"


class Other(UDP):
    name = "other"


class Bus(Adapter):
    name = "bus"
    transport = Transport.STREAM
    port = 1
    event_types = ()
    Settings = dict

    def endpoint_at(self, host: str, port: int, limits: Limits) -> Endpoint:
        raise NotImplementedError


class Package(Distribution):
    """A distribution that is installed nowhere."""

    def __init__(self, name: str, *points: tuple[str, str]) -> None:
        self._name = name
        self._points = "\n".join(f"{point} = {value}" for point, value in points)

    def read_text(self, filename: str) -> str | None:
        return {
            "METADATA": f"Name: {self._name}\nVersion: 2.0\n",
            "entry_points.txt": f"[{registry.GROUP}]\n{self._points}\n",
        }.get(filename)

    def locate_file(self, path: object) -> Path:
        return Path(str(path))


Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Say what is installed."""

    def these(*packages: Package) -> None:
        points: list[EntryPoint] = [point for package in packages for point in package.entry_points]
        monkeypatch.setattr(registry, "entry_points", lambda group: [one for one in points if one.group == group])
        registry._entries.cache_clear()

    yield these
    registry._entries.cache_clear()


HERE = __name__
GOOD = Package("acme", ("stranger", f"{HERE}:Stranger"))


def test_our_own_protocols_are_found_the_way_a_strangers_are() -> None:
    assert registry.find("udp") is UDP
    ours = {one.name: one for one in registry.installed()}
    assert {"coap", "mqtt", "udp"} <= ours.keys()
    assert ours["udp"].protocol is UDP
    assert ours["udp"].distribution.startswith("thinbridge ")


def test_a_strangers_protocol_is_found(install: Install) -> None:
    install(GOOD)
    assert registry.find("stranger") is Stranger
    assert registry.installed() == [registry.Installed("stranger", "acme 2.0", Stranger)]


def test_an_adapter_is_found_like_a_protocol(install: Install) -> None:
    install(Package("acme", ("bus", f"{HERE}:Bus")))
    assert registry.find("bus") is Bus


def test_an_unknown_name_lists_what_is_installed(install: Install) -> None:
    install(GOOD, Package("zeta", ("other", f"{HERE}:Other")))
    with pytest.raises(SettingsError, match=r"^protocol: ohter: unknown protocol; installed: other, stranger$"):
        registry.find("ohter")
    install()
    with pytest.raises(SettingsError, match=r"unknown protocol; installed: none$"):
        registry.find("udp")
    assert registry.installed() == []


def test_a_name_that_two_distributions_claim_is_refused_naming_both(install: Install) -> None:
    install(Package("rival", ("stranger", f"{HERE}:Other")), GOOD)
    with pytest.raises(SettingsError, match=r"claimed by acme 2\.0 and rival 2\.0; uninstall one of them$"):
        registry.find("stranger")
    assert [(one.distribution, one.protocol) for one in registry.installed()] == [
        ("acme 2.0", None),
        ("rival 2.0", None),
    ]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("missing_module:Thing", "ModuleNotFoundError: No module named 'missing_module'"),
        (f"{HERE}:Missing", f"AttributeError: module '{HERE}' has no attribute 'Missing'"),
        (f"{HERE}:GOOD", f"{HERE}:GOOD is no Protocol"),
        (f"{HERE}:Package", f"{HERE}:Package is no Protocol"),
        (f"{HERE}:Other", f"{HERE}:Other.name is not 'broken'"),
    ],
)
def test_a_broken_stranger_stops_nobody_else(install: Install, value: str, problem: str) -> None:
    install(Package("faulty", ("broken", value)), GOOD)
    with pytest.raises(SettingsError) as caught:
        registry.find("broken")
    assert caught.value.fix == f"faulty 2.0 is broken: {problem}"
    assert [(one.name, one.protocol) for one in registry.installed()] == [("broken", None), ("stranger", Stranger)]
    assert registry.find("stranger") is Stranger


def test_names_imports_nothing(install: Install) -> None:
    install(Package("faulty", ("broken", "missing_module:Thing")), GOOD)
    assert registry.names() == ["broken", "stranger"]


def test_a_protocol_without_a_distribution_is_named_too(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("stranger", f"{HERE}:Stranger", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    registry._entries.cache_clear()
    assert registry.installed()[0].distribution == "an unknown distribution"


def test_what_is_found_is_a_protocol() -> None:
    assert issubclass(registry.find("udp"), Protocol)
