"""A connection to a broker that refuses, is silent, half gone or too slow: scripted, over real sockets.

Over 400 lines because it mirrors one module.
"""

import asyncio
import logging
import shutil
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import MQTTMessage
from tests.bridges.adapters.mqtt_broker.broker import CONNACK, Broker, Script, listening, publish
from tests.certificates import Authority
from tests.waiting import until

from thinbridge.adapters.mqtt_broker import link as module
from thinbridge.adapters.mqtt_broker import tls
from thinbridge.adapters.mqtt_broker.link import Identity, Link
from thinbridge.adapters.mqtt_broker.settings import BrokerSettings
from thinbridge.adapters.mqtt_broker.wire import READ
from thinbridge.protocols.mqtt.message import Publication


class Owner:
    """What a link tells."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.messages: list[MQTTMessage] = []
        self.acks: list[tuple[int, int]] = []
        self.stop_at = self.failures = 0
        self.link: Link

    def up(self, present: bool) -> None:
        self.told.append("up")

    def failed(self) -> None:
        self.failures += 1

    def down(self, taken_over: bool) -> None:
        self.told.append("taken over" if taken_over else "down")

    def received(self, message: MQTTMessage) -> None:
        self.messages.append(message)
        if len(self.messages) == self.stop_at:
            self.link.pause()

    def published(self, packet_id: int, reason: int) -> None:
        self.acks.append((packet_id, reason))


@asynccontextmanager
async def linked(*scripts: Script, **keys: Any) -> AsyncIterator[tuple[Link, Owner, list[asyncio.Task[None]]]]:
    """A link to a broker that plays a script a connection, and the last of them again and again."""
    async with listening(*scripts) as (port, connections):
        owner = Owner()
        named: dict[str, Any] = {"subscribe": ("t",), "connect_timeout": 0.3} | keys
        settings, place = BrokerSettings(**named), ("127.0.0.1", port)
        link = owner.link = Link(place, settings, Identity("b", ("t",), True), None, owner, lambda: 0.0)
        link.start()
        try:
            yield link, owner, connections
        finally:
            await link.stop()


def play(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scene())  # type: ignore[arg-type]


async def works(broker: Broker) -> None:
    await broker.welcome()
    await broker.forever()


def ends(caplog: pytest.LogCaptureFixture, *scripts: Script, **keys: Any) -> list[str]:
    """Why the first connections ended, as the log says it, until the last script works."""
    caplog.set_level(logging.INFO, "thinbridge.adapters.mqtt_broker.link")

    async def scene() -> None:
        async with linked(*scripts, works, **keys) as (link, _owner, connections):
            await until(lambda: link.subscribed and len(connections) == len(scripts) + 1, 20)
            assert link.error is None

    play(scene)
    return [record.args[0] for record in caplog.records if record.levelno == logging.WARNING and record.args]  # type: ignore[misc, index]


async def no_connack(broker: Broker) -> None:
    await broker.forever()


async def no_suback(broker: Broker) -> None:
    await broker.expect(1, CONNACK)
    await broker.forever()


async def closes(broker: Broker) -> None:
    await broker.packet()


async def half_closes(broker: Broker) -> None:
    await broker.welcome()
    broker.writer.write_eof()
    await broker.forever()


async def garbage(broker: Broker) -> None:
    await broker.expect(1, b"\xff" * 64)
    await broker.forever()


async def too_long(broker: Broker) -> None:
    await broker.welcome()
    broker.writer.write(b"\x30\xff\xff\xff\xff\x7f")
    await broker.forever()


async def malformed(broker: Broker) -> None:
    await broker.welcome()
    broker.writer.write(b"\x32\x08\x00\x01t\x00\x01\x05\x26\x00")  # properties that end too soon
    await broker.forever()


async def busy(broker: Broker) -> None:
    await broker.expect(1, b"\x20\x03\x00\x89\x00")


async def shutting_down(broker: Broker) -> None:
    await broker.welcome()
    broker.writer.write(b"\xe0\x02\x8b\x00")
    await broker.forever()


async def silent(broker: Broker) -> None:
    await broker.welcome()
    await broker.forever()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (no_connack, "no CONNACK in time"),
        (no_suback, "no SUBACK in time"),
        (closes, "the connection broke"),
        (half_closes, "the connection broke"),
        (garbage, "the connection broke"),
        (too_long, "the connection broke"),
        (malformed, "the connection broke"),
        (busy, "the broker refuses: Server busy"),
        (shutting_down, "the broker disconnects: Server shutting down"),
    ],
)
def test_it_comes_back_and_says_once_why_it_was_gone(
    script: Script, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    stood = script in (half_closes, too_long, malformed, shutting_down)  # and each loss of what stood is said
    assert ends(caplog, script, script) == ([reason, reason] if stood else [reason])


def test_a_broker_that_is_silent_is_found_out_by_the_keep_alive(caplog: pytest.LogCaptureFixture) -> None:
    assert ends(caplog, silent, keep_alive=1) == ["the broker is silent"]


@pytest.mark.parametrize(
    ("connack", "reason", "version"),
    [
        (b"\x20\x03\x00\x87\x00", "the broker refuses: Not authorized", "5"),
        (b"\x20\x03\x00\x97\x00", "the broker refuses: Quota exceeded", "5"),
        (b"\x20\x02\x00\x05", "the broker refuses: Not authorized", "3.1.1"),
        (b"\x20\x02\x00\x03", "the broker refuses: Server unavailable", "3.1.1"),
    ],
)
def test_a_refusal_is_named(connack: bytes, reason: str, version: str) -> None:
    async def refuses(broker: Broker) -> None:
        await broker.expect(1, connack)
        await broker.forever()

    async def scene() -> None:
        async with linked(refuses, version=version) as (link, owner, _connections):
            await until(lambda: link.error == reason)
            assert (owner.told, owner.failures > 0) == ([], True)

    play(scene)


def test_who_has_no_right_waits_longer_and_who_was_taken_over_longest() -> None:
    async def refuses(broker: Broker) -> None:
        await broker.expect(1, b"\x20\x03\x00\x87\x00")

    async def taken_over(broker: Broker) -> None:
        await broker.welcome()
        broker.writer.write(b"\xe0\x02\x8e\x00")
        await broker.forever()

    async def scene() -> None:
        async with linked(refuses) as (link, _, _):
            await until(lambda: link._code == 0x87)
            assert [link._pause(failures) for failures in (0, 3, 10)] == [0.125, 1.0, module.LONGEST_REFUSED / 2]
        async with linked(taken_over) as (link, owner, _connections):
            await until(lambda: owner.told == ["up", "taken over"])
            assert link._pause(0) == module.LONGEST_REFUSED / 2
            link._code = 0
            assert link._pause(50) == module.LONGEST_PAUSE / 2

    play(scene)


def test_a_subscription_that_is_not_granted_is_said_and_asked_for_again(caplog: pytest.LogCaptureFixture) -> None:
    async def refuses(broker: Broker) -> None:
        await broker.expect(1, CONNACK)
        await broker.expect(8, b"\x90\x04\x00\x01\x00\x87")
        await broker.expect(8, b"\x90\x04\x00\x02\x00\x01")
        await broker.forever()

    async def scene() -> None:
        async with linked(refuses, keep_alive=1000) as (link, owner, _connections):
            await until(lambda: link.refused == ["t"])
            link._ask_again = 0.0
            await until(lambda: not link.refused)
            assert owner.told == ["up"]

    play(scene)
    assert "does not grant a subscription: Not authorized" in caplog.text


def test_many_messages_in_one_segment_and_a_pause_between_them() -> None:
    async def sends(broker: Broker) -> None:
        await broker.welcome()
        broker.writer.write(b"".join(map(publish, range(1, 101))))
        for _ in range(100):
            kind, _ = await broker.packet()
            assert kind == 4
        broker.writer.write(publish(101))
        await broker.forever()

    async def scene() -> None:
        async with linked(sends) as (link, owner, _):
            owner.stop_at = 10
            await until(lambda: len(owner.messages) == 10)
            await asyncio.sleep(0.05)
            assert len(owner.messages) == 10  # what was read already waits, too
            link.resume()
            await until(lambda: len(owner.messages) == 100)
            for message in owner.messages:
                link.acknowledge(message.mid, message.qos)
            await until(lambda: len(owner.messages) == 101)

    play(scene)


def test_pauses_do_not_add_up_what_is_read_ahead() -> None:
    async def floods(broker: Broker) -> None:
        await broker.welcome()
        for number in range(1, 60001):
            broker.writer.write(publish(number, bytes(100)))
            await broker.writer.drain()

    async def scene() -> None:
        async with linked(floods) as (link, owner, _):
            for number in range(1, 40):
                owner.stop_at = number
                link.resume()
                await until(lambda number=number: len(owner.messages) >= number)  # type: ignore[misc]
            assert link._client.wire is not None
            assert len(link._client.wire._in) <= 2 * READ

    play(scene)


def test_while_reading_pauses_the_broker_hears_of_it_and_no_answer_is_missed() -> None:
    pings = asyncio.Queue[float]()

    async def counts(broker: Broker) -> None:
        await broker.welcome()
        broker.writer.write(publish(1))
        while True:
            await broker.expect(12, b"\xd0\x00")
            pings.put_nowait(asyncio.get_running_loop().time())

    async def scene() -> None:
        async with linked(counts, keep_alive=1) as (link, owner, _):
            owner.stop_at = 1
            await until(lambda: owner.messages)
            for _ in range(4):
                await asyncio.wait_for(pings.get(), 5)  # past 1.5 times the keep-alive, twice
            assert owner.told == ["up"]
            link.resume()
            for _ in range(2):
                await asyncio.wait_for(pings.get(), 5)
            assert owner.told == ["up"]

    play(scene)


def test_a_connection_is_made_again_while_reading_pauses() -> None:
    async def sends(broker: Broker) -> None:
        await broker.welcome()
        broker.writer.write(publish(1))
        await broker.writer.drain()

    async def sends_on(broker: Broker) -> None:
        await broker.welcome()
        broker.writer.write(publish(2) + publish(3))
        await broker.forever()

    async def scene() -> None:
        async with linked(sends, sends_on, keep_alive=1) as (link, owner, connections):
            owner.stop_at = 1
            await until(lambda: len(connections) >= 2 and link.subscribed)
            assert owner.told == ["up", "down", "up"]
            await asyncio.sleep(0.05)
            assert len(owner.messages) == 1  # and it pauses again
            link.resume()
            await until(lambda: len(owner.messages) == 3)

    play(scene)


def test_a_broker_that_does_not_read_is_waited_for() -> None:
    async def slow(broker: Broker) -> None:
        await broker.welcome()
        await asyncio.sleep(0.3)
        for number in range(2, 42):
            await broker.expect(3, b"\x40\x02" + number.to_bytes(2))
        await broker.forever()

    async def scene() -> None:
        async with linked(slow) as (link, owner, _):
            await until(lambda: link.subscribed)
            for _ in range(40):
                link.publish(Publication("t", bytes(200_000), 1))
            await asyncio.sleep(0)
            assert link.unsent
            await until(lambda: len(owner.acks) == 40, 20)
            assert not link.unsent

    play(scene)


def test_it_is_not_dialled_before_it_may_be() -> None:
    async def scene() -> None:
        async with linked(works) as (link, owner, connections):
            await until(lambda: link.subscribed)
            link.permitted.clear()
            connections[0].cancel()
            await until(lambda: owner.told == ["up", "down"])
            await asyncio.sleep(0.5)
            assert len(connections) == 1
            link.permitted.set()
            await until(lambda: link.subscribed)

    play(scene)


def test_nobody_there() -> None:
    async def scene() -> None:
        owner = Owner()
        settings = BrokerSettings(subscribe=("t",))
        link = Link(("127.0.0.1", 1), settings, Identity("b", ("t",), True), None, owner)
        link.start()
        await until(lambda: link.error == "Connection refused")
        await link.stop()
        assert owner.told == []

    play(scene)


def test_the_password_is_read_for_each_connection(tmp_path: Any) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    heard: list[bytes] = []

    async def takes(broker: Broker) -> None:
        heard.append(await broker.expect(1, CONNACK))
        token.write_text("second")

    async def scene() -> None:
        async with linked(takes, username="me", password_file=str(token)):
            await until(lambda: len(heard) == 2)

    play(scene)
    assert heard[0].endswith(b"\x00\x02me\x00\x05first")
    assert heard[1].endswith(b"\x00\x02me\x00\x06second")


def test_the_files_of_tls_are_read_for_each_connection(tmp_path: Path) -> None:
    """Also where they can't be used for a while: they are being replaced."""
    theirs = Authority(tmp_path, "theirs")
    (tmp_path / "ca.pem").write_text("soon")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*theirs.issue("server", "127.0.0.1"))

    async def scene() -> None:
        async with listening(works, context=server) as (port, _):
            place = "127.0.0.1", port
            settings = BrokerSettings(subscribe=("t",), tls_ca=str(tmp_path / "ca.pem"))
            identity, owner = Identity("b", ("t",), True), Owner()
            link = Link(place, settings, identity, partial(tls.context, settings), owner, lambda: 0.0)
            link.start()
            await until(lambda: "TLS: " in (link.error or ""))
            shutil.copy(theirs.ca, tmp_path / "ca.pem")
            await until(lambda: link.subscribed)
            await link.stop()

    play(scene)
