"""`docs/protocols/coap.md` says what is there: each setting with its default, each attribute, each counter."""

import ast
import re
from dataclasses import fields
from pathlib import Path

from thinbridge.protocols import coap
from thinbridge.protocols.coap import CoAP, CoAPSettings

PAGE = (Path(__file__).parents[4] / "docs" / "protocols" / "coap.md").read_text("utf-8")
SOURCES = "".join(path.read_text("utf-8") for path in Path(coap.__file__).parent.glob("*.py"))


def section(title: str) -> str:
    """The text under a heading."""
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_every_setting_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", section("Settings"), re.MULTILINE))
    assert rows == {field.name: "–" if field.default == () else str(field.default) for field in fields(CoAPSettings)}


def test_every_attribute() -> None:
    rows = re.findall(r"^\| (`.*?) \|", section("What becomes an event"), re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", " ".join(rows)))
    assert named == {"subject", "datacontenttype", *CoAP.event_types[0].attributes}


def strings(node: ast.AST) -> set[str]:
    """The string literals in an expression."""
    return {one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)}


def counted() -> set[str]:
    """The counters' names, as the sources have them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(SOURCES)):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("counters"):
            names |= strings(node.slice)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("Refused", "TurnedAway", "_refused"):
            names |= strings(node.args[-1])
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "DecodeError":
            names |= {f"malformed_{reason}" for reason in strings(node.args[0])}
    return names - {"malformed_"}


def test_every_counter() -> None:
    named = set(re.findall(r"`([a-z]\w*)`", section("Counters").partition("- the shell's")[0]))
    assert named - {"sessions_full"} == counted()  # that one is the shell's, and says 5.03 by `CoAP.full`
