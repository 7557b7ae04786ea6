"""`docs/protocols/coap-streams.md` says what is there: each scheme, each setting with its default, each counter."""

import ast
import re
from dataclasses import fields
from pathlib import Path

from tests.bridges.protocols.coap.test_page import strings

from thinbridge.adapters import coap
from thinbridge.adapters.coap import CoAPOscore, CoAPTCP, OscoreSettings, StreamSettings
from thinbridge.adapters.coap.keys import ESTABLISHED, HANDSHAKES
from thinbridge.protocols.coap import CoAPSettings

PAGE = (Path(__file__).parents[4] / "docs" / "protocols" / "coap-streams.md").read_text("utf-8")
FOLDER = Path(coap.__file__).parent


def section(title: str) -> str:
    """The text under a heading."""
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_every_scheme_with_its_port() -> None:
    rows = dict(re.findall(r"^\| `([a-z+]+)` \| (\d+) \|", PAGE, re.MULTILINE))
    schemes = {CoAPTCP.name: CoAPTCP.port, CoAPOscore.name: CoAPOscore.port}
    schemes |= {scheme: port for scheme, (_, port) in CoAPTCP.carriers.schemes.items()}
    assert rows == {scheme: str(port) for scheme, port in schemes.items()}


def test_every_setting_that_coap_has_not_or_has_otherwise() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", section("Settings"), re.MULTILINE))
    common = {field.name: field.default for field in fields(CoAPSettings)}
    own = [field for cls in (StreamSettings, OscoreSettings) for field in fields(cls)]
    assert rows == {field.name: str(field.default) or "–" for field in own if common.get(field.name) != field.default}


COUNTED = re.compile(r"_abort\((.*?)\)|counters\[(.*?)\] \+=|_refuse\(message, .*, (\"\w+\")\)")


def test_every_counter() -> None:
    sources = "".join(path.read_text("utf-8") for path in FOLDER.glob("*.py"))
    expressions = [text for found in COUNTED.findall(sources) for text in found if text.startswith('"')]
    named = set(re.findall(r"`([a-z]\w+)`", section("Counters"))) - {"message_timeout"}
    assert named == {name for text in expressions for name in strings(ast.parse(text))}


def test_the_limits_of_edhoc() -> None:
    assert f"{ESTABLISHED} contexts by EDHOC" in PAGE
    assert f"{HANDSHAKES} handshakes that have begun" in PAGE
