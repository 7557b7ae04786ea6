"""`docs/protocols/mqtt-broker.md` says what is there: each setting with its default, each counter, health's words."""

import re
from dataclasses import fields
from pathlib import Path

from thinbridge.adapters import mqtt_broker
from thinbridge.adapters.mqtt_broker.settings import BrokerSettings
from thinbridge.protocols.base import Outcome, PushResult

PAGE = (Path(__file__).parents[4] / "docs" / "protocols" / "mqtt-broker.md").read_text("utf-8")
SOURCES = "".join(path.read_text("utf-8") for path in Path(mqtt_broker.__file__).parent.glob("*.py"))


def section(title: str) -> str:
    """The text under a heading."""
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def shown(default: object) -> str:
    """A default as the page has it."""
    text = ", ".join(default) if isinstance(default, tuple) else str(default)
    return text or "–"


def test_every_setting_with_its_default() -> None:
    said: dict[str, str] = {}
    for keys, defaults in re.findall(r"^\| (`[^|]+) \| ([^|]+) \|", section("Settings"), re.MULTILINE):
        names = re.findall(r"`(\w+)`", keys)
        values = defaults.split(", ")
        said |= dict(zip(names, values if len(values) == len(names) else values * len(names), strict=True))
    assert said == {field.name: shown(field.default) for field in fields(BrokerSettings)}


def test_every_counter() -> None:
    named = set(re.findall(r"`([a-z]\w*)`", section("Counters")))
    counted = set(re.findall(r'counters\["(\w+)"\]', SOURCES)) | {"pending_full", "replies_forgotten"}
    counted |= {f"not_{one.name.lower()}" for one in Outcome if one not in (Outcome.ACCEPTED, Outcome.PENDING)}
    counted |= {f"outbound_{one.name.lower()}" for one in PushResult if one.value >= 400}
    assert named == counted


def test_every_word_of_health() -> None:
    words = set(re.findall(r'^            "(\w+)": ', SOURCES, re.MULTILINE))
    assert set(re.findall(r'"(\w+)": ', section("When the broker is not there"))) == words | {"name", "endpoints"}
