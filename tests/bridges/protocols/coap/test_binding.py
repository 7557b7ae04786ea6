"""`docs/coap-binding.md` against the bridge: its examples are vectors, and its numbers the settings' defaults."""

import json
import re
from pathlib import Path

import pytest

from thinbridge.protocols.coap import CoAPSettings
from thinbridge.protocols.coap.cloudevents import Event, read
from thinbridge.protocols.coap.codec import decode
from thinbridge.protocols.coap.request import Carries
from thinbridge.protocols.coap.request import read as read_request

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "coap-binding.md").read_text("utf-8")
VECTORS = (ROOT / "tests" / "vectors" / "coap-cloudevents.json").read_text("utf-8")

ATTRIBUTES = {
    "specversion": "1.0",
    "id": "42",
    "source": "urn:dev:mac:0024befffe804ff1",
    "type": "org.example.temperature",
}


def octets(block: str) -> bytes:
    """The bytes of an example: hexadecimal numbers and text in quotes, then two blanks and what it is."""
    out = b""
    for line in block.splitlines():
        for number, text in re.findall(r"([0-9a-f]+)|'([^']*)'", line.partition("  ")[0]):
            out += bytes.fromhex(number) if number else text.encode()
    return out


EXAMPLES = [octets(block) for block in re.findall(r"^```\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)]


def test_each_example_is_in_the_vectors() -> None:
    vectors = set(re.findall(r'"([0-9a-f]+)"', VECTORS))
    assert len(EXAMPLES) == 4
    assert all(example.hex() in vectors for example in EXAMPLES)
    assert len(json.loads(VECTORS)["cases"]) > 30


@pytest.mark.parametrize(("index", "mode"), [(0, Carries.BINARY), (1, Carries.STRUCTURED)])
def test_both_modes_of_the_examples_are_the_same_event(index: int, mode: Carries) -> None:
    message = decode(EXAMPLES[index])
    request = read_request(message, "peer", CoAPSettings().event_format)
    assert request.carries is mode
    assert read(request, message.payload) == Event("application/json", b'{"t":21.5}', ATTRIBUTES)


def test_the_number_is_the_settings_default() -> None:
    assert f"**{CoAPSettings().event_format}** for `application/cloudevents+json`" in PAGE
