"""Sessions behind a broker."""

from collections import Counter
from itertools import count

import pytest

from thinbridge.adapters.mqtt_broker.devices import BrokerSession, Devices, device_of
from thinbridge.adapters.mqtt_broker.settings import BrokerSettings
from thinbridge.adapters.mqtt_broker.window import Use
from thinbridge.protocols.base import Outcome, Path, Reply
from thinbridge.protocols.mqtt.cloudevents import Message

SETTINGS = BrokerSettings(subscribe=("#",), device_topics=("devices/{deviceid}/up", "{deviceid}/#"))


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("devices/7/up", "7"),
        ("devices/7/down", "devices"),
        ("devices//up", None),
        ("x" * 257, None),
        ("$SYS/up", None),
    ],
)
def test_the_device_is_a_level_of_its_topic(topic: str, name: str | None) -> None:
    assert device_of([tuple(text.split("/")) for text in SETTINGS.device_topics], topic) == name


def rig() -> tuple[Devices, list[BrokerSession], Counter[str]]:
    ids, closed, counters = count(1), list[BrokerSession](), Counter[str]()
    return Devices(SETTINGS, counters, lambda: f"id{next(ids)}", closed.append), closed, counters


def test_a_session_a_device_and_one_for_all_others() -> None:
    devices, closed, _ = rig()
    seven = devices.session("devices/7/up", 10)
    assert seven is devices.session("7/x", 10)
    others = devices.session("$other", 10)
    assert others is devices.session("devices//up", 10)
    assert (seven.device, others.device, len(devices)) == ("7", None, 2)
    assert seven.id != others.id
    devices.close()
    assert closed == [seven, others]
    assert (seven.closed, len(devices)) == (True, 0)


def test_the_one_silent_for_longest_goes_if_it_waits_for_nothing() -> None:
    devices, closed, counters = rig()
    one, two = devices.session("1/x", 2), devices.session("2/x", 2)
    one.begin(Use(1, 10), "1/x", Message(b""))
    devices.session("1/x", 2)
    devices.session("3/x", 2)
    assert closed == [two]
    three = devices.session("3/x", 2)
    for session in (three,):
        session.begin(Use(1, 10), "3/x", Message(b""))
    four = devices.session("4/x", 2)
    assert closed == [two, four]  # all others wait for something
    assert counters == {"evicted": 2}


def test_it_has_nothing_to_say_of_its_own() -> None:
    session = BrokerSession("id", None, SETTINGS, Counter())
    session.receive(b"x", Path(("", 0)), 0.0)
    assert not session.answer(1, Reply(Outcome.ACCEPTED), 0.0)
    assert session.next_event() is None
    assert session.data_to_send() == ()
