"""`docs/protocols/mqtt.md` says what is there: each setting with its default, each attribute, each counter."""

import ast
import re
from dataclasses import fields
from pathlib import Path

from thinbridge import contract
from thinbridge.protocols import mqtt
from thinbridge.protocols.mqtt import MQTTSettings, outbound

DOCS = Path(__file__).parents[4] / "docs" / "protocols"
PAGE = (DOCS / "mqtt.md").read_text("utf-8")
SOURCES = "".join(path.read_text("utf-8") for path in Path(mqtt.__file__).parent.glob("*.py"))

SHELL = {"evicted"}
"""Counted by the shell, for every protocol."""


def section(title: str) -> str:
    """The text under a heading."""
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def shown(default: object) -> str:
    """A default, as the page has it."""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f"`{default[0]}`"
    if isinstance(default, str):
        return f"`{default}`" if default else "none"
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_every_setting_with_its_default() -> None:
    rows: dict[str, str] = {}
    for keys, defaults in re.findall(r"^\| (`.+?) \| (.+?) \|", section("Settings"), re.MULTILINE):
        rows |= dict(zip(re.findall(r"`(\w+)`", keys), defaults.split(", "), strict=True))
    assert rows == {one.name: shown(one.default) for one in fields(MQTTSettings)}


def test_every_attribute() -> None:
    rows = re.findall(r"^\| (`.*?) \|", section("What becomes an event"), re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", " ".join(rows)))
    own = {name for one in mqtt.MQTT.event_types for name in one.attributes}
    assert named == {"subject", "datacontenttype", "expirytime", "deviceid", *own}


def test_every_attribute_that_steers() -> None:
    steering = {name for name in contract.REPLY_ATTRIBUTES if name.startswith("mqtt")}
    assert set(re.findall(r"`(mqtt\w+)`", section("What a device hears"))) == steering


def strings(node: ast.AST) -> set[str]:
    """The string literals in an expression."""
    return {one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)}


def counted() -> set[str]:
    """The counters' names, as the sources have them."""
    names: set[str] = set(outbound._COUNTERS.values())
    for node in ast.walk(ast.parse(SOURCES)):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("counters"):
            names |= strings(node.slice)
        elif isinstance(node, ast.Call):
            function = ast.unparse(node.func)
            if function == "DecodeError":
                names |= strings(node.args[0])
            elif function.endswith(("._fail", "._done")) and len(node.args) > 1:
                names |= strings(node.args[-1]) | strings(node.args[1])
    return names


def test_every_counter() -> None:
    outcomes = {"not_refused", "not_overloaded", "not_unknown", "not_bad_gateway"}
    named = set(re.findall(r"`([a-z]\w*)`", section("Counters").partition("\n\nThe counter")[0])) - {"reason"}
    named.discard("thinbridge_dropped_total")
    events = {"event_invalid", "event_forged"}  # `protocols.cloudevents` names them
    assert named - outcomes - events == counted() - {"not_"}
    assert outcomes | events <= named
