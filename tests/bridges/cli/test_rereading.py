"""Routes, mode, limits and dead letter change while the bridge runs; everything else waits for a restart."""

import asyncio
import logging
import os
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import yaml
from tests.bridges.cli.processes import program
from tests.bridges.cli.test_run import LISTEN, device, sink
from tests.waiting import until

from thinbridge.assembly import build
from thinbridge.bridge import Bridge
from thinbridge.cli.rereading import Source, reread, rereading
from thinbridge.protocols.base import Inbound
from thinbridge.settings import Settings, load
from thinbridge.shells import Shell

FIRST: dict[str, Any] = {"listen": [{"url": "udp://127.0.0.1:0"}], "sink": {"uri": "http://a/"}}
MESSAGE = Inbound(1, "dev.thinbridge.udp.datagram", None, {}, None, b"")


def source(file: Path) -> Source:
    return Source(file, lambda: load({}, {}, file))


def write(file: Path, **keys: Any) -> None:
    file.write_text(yaml.safe_dump(FIRST | keys))


def standing(tmp_path: Path) -> tuple[Source, Settings, Bridge]:
    file = tmp_path / "bridge.yaml"
    write(file)
    place = source(file)
    settings = place.load()
    return place, settings, build(settings)


def sink_of(bridge: Bridge) -> str:
    found = bridge.routes.match("udp", MESSAGE).sink
    assert found is not None
    return found.uri


def mount(volume: Path, number: int, **keys: Any) -> Path:
    """Write a ConfigMap's volume as the kubelet does: new files aside, then one link is swapped."""
    new = volume / f"..{number}"
    new.mkdir(parents=True)
    write(new / "bridge.yaml", **keys)
    (volume / "..tmp").symlink_to(new.name)
    os.replace(volume / "..tmp", volume / "..data")
    file = volume / "bridge.yaml"
    if not file.is_symlink():
        file.symlink_to("..data/bridge.yaml")
    return file


def test_a_config_maps_swap_of_links_is_seen(tmp_path: Path) -> None:
    async def scenario() -> None:
        place = source(mount(tmp_path / "volume", 1))
        settings = place.load()
        bridge = build(settings)
        async with rereading(bridge, settings, place, 0.01):
            mount(tmp_path / "volume", 2, routes=[{"sink": "http://b/"}])
            await until(lambda: sink_of(bridge) == "http://b/")
            (tmp_path / "volume/bridge.yaml").unlink()  # not there for a moment
            await asyncio.sleep(0.03)
            mount(tmp_path / "volume", 3)
            await until(lambda: sink_of(bridge) == "http://a/")

    asyncio.run(scenario())


def test_a_mistake_of_ours_in_it_keeps_nothing_from_being_drained(tmp_path: Path) -> None:
    read = Event()

    def fails() -> Settings:
        read.set()
        raise RuntimeError("ours")

    async def scenario() -> None:
        place, settings, bridge = standing(tmp_path)
        async with rereading(bridge, settings, Source(place.file, fails), 0.01):
            await until(read.is_set)
            await asyncio.sleep(0)

    asyncio.run(scenario())


def test_all_that_can_change_does(tmp_path: Path) -> None:
    place, settings, bridge = standing(tmp_path)
    limits = {"sessions": 3, "connections_per_address": 4, "deliveries": 5, "body": 6, "held_bytes": 7}
    write(place.file, mode="event", dead_letter="http://dead/", limits=limits)
    settings = reread(bridge, settings, place)
    route = bridge.routes.match("udp", MESSAGE)
    assert (route.mode.value, route.dead_letter and route.dead_letter.uri) == ("event", "http://dead/")
    [endpoint] = bridge.endpoints
    assert isinstance(endpoint, Shell)
    assert (endpoint.limits.sessions, endpoint.limits.connections_per_address) == (3, 4)
    assert (bridge.delivery.limits.deliveries, bridge.delivery.limits.held_bytes) == (5, 7)
    assert bridge.inbox is not None
    assert bridge.inbox.limits.body == 6
    assert settings.limits.body == 6


def test_the_rest_is_named_and_waits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place, settings, bridge = standing(tmp_path)
    write(place.file, name="other", trusted_networks=["10.0.0.0/8"], routes=[{"sink": "http://b/"}])
    with caplog.at_level(logging.INFO, "thinbridge"):
        now = reread(bridge, settings, place)
    assert (now.name, now.trusted_networks, sink_of(bridge)) == ("bridge", settings.trusted_networks, "http://b/")
    assert [(line.levelname, line.__dict__["fields"]["keys"]) for line in caplog.records] == [
        ("WARNING", "name, trusted_networks"),
        ("INFO", "routes"),
    ]


def test_a_mistake_leaves_all_as_it_was(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place, settings, bridge = standing(tmp_path)
    write(place.file, mode="sometimes", routes=[{"sink": "http://b/"}])
    assert reread(bridge, settings, place) is settings
    assert sink_of(bridge) == "http://a/"
    assert "mode: sometimes" in caplog.records[0].__dict__["fields"]["error"]


def test_what_is_on_its_way_is_answered_and_the_session_stays(tmp_path: Path) -> None:
    file, hold = tmp_path / "bridge.yaml", Event()
    with sink(hold) as slow, sink() as quick:
        file.write_text(f"sink: {slow}")
        with program("run", "--config", str(file), *LISTEN) as running, device(running.port("udp")) as sock:
            sock.send(b"one")
            file.write_text(f"sink: {slow}\nroutes: [{{sink: {quick}}}]")
            running.line("settings reread")
            sock.send(b"two")
            assert sock.recv(100) == b"two"
            hold.set()
            assert sock.recv(100) == b"one"
