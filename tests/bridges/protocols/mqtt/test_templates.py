"""Which topics a device may use."""

import pytest

from thinbridge.errors import SettingsError
from thinbridge.protocols.mqtt import templates
from thinbridge.protocols.mqtt.templates import Templates


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("devices/7/commands/#", True),
        ("devices/7/commands", True),
        ("devices/7/commands/a/b", True),
        ("devices/7/commands/+", True),
        ("devices/8/commands/#", False),
        ("devices/+/commands/#", False),
        ("devices/#", False),
        ("devices/7/+", False),
        ("#", False),
        ("all/c1", True),
        ("all/+", False),
        ("any/x", True),
        ("any/+", True),
        ("any/#", False),
        ("any", False),
        ("any/x/y", False),
    ],
)
def test_what_lies_within(text: str, allowed: bool) -> None:
    one = Templates(["devices/{deviceid}/commands/#", "all/{clientid}", "any/+"], "7", "c1")
    assert one.allow(text) is allowed


@pytest.mark.parametrize("name", ["+", "#", "7/x", "", "a+"])
def test_a_name_reaches_into_no_other_devices_topics(name: str) -> None:  # CVE-2017-7650
    one = Templates(["d/{deviceid}/#"], name, "c")
    assert not one.allow("d/7/x")
    assert not one.allow(f"d/{name}/x")


def test_everything() -> None:
    assert Templates(["a", "#"], "7", "c").allow("$x/y")
    assert not Templates([], "7", "c").allow("a")


@pytest.mark.parametrize("wrong", ["", "a#", "a/{name}", "a/x{deviceid}", "{deviceid"])
def test_what_is_no_template(wrong: str) -> None:
    with pytest.raises(SettingsError, match="may_publish"):
        templates.check("may_publish", [wrong])


def test_fill() -> None:
    names = {"{deviceid}": "7", "{clientid}": "c"}
    assert templates.fill("a/{deviceid}/{clientid}", names) == "a/7/c"
    assert templates.fits("a", {"{deviceid}": "/"})
