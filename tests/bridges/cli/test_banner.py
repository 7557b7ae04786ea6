"""What `thinbridge dev` says that one can type."""

import pytest
from tests.bridges.stubs import StubEndpoint

from thinbridge.cli.dev import banner
from thinbridge.protocols.base import Endpoint


def endpoint(url: str) -> Endpoint:
    made = StubEndpoint()
    made.url, made.protocol = url, url.partition(":")[0].removesuffix("s")
    return made


def test_commands_have_the_ports_that_were_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    urls = (
        "coap://0.0.0.0:5684",
        "mqtt://127.0.0.1:1884",
        "udp://[::]:9001",
        "tftp://127.0.0.1:6969",
        "mqtts://[::1]:8883",
        "coap+tcp://127.0.0.1:5683",
        "mqtt+ws://0.0.0.0:8083",
    )
    assert banner.lines([endpoint(url) for url in urls], 4.5) == [
        "",
        "Be a device, in another terminal:",
        "",
        "  coap-client-notls -m post -e hello coap://127.0.0.1:5684/greeting",
        "  thinbridge send coap://127.0.0.1:5684/greeting -d hello",
        "",
        "  mosquitto_rr -h 127.0.0.1 -p 1884 -t greeting -e answers -m hello",
        "  thinbridge send mqtt://127.0.0.1:1884/greeting -d hello",
        "",
        "  echo -n hello | nc -u -w 8 ::1 9001",
        "  thinbridge send udp://[::1]:9001 -d hello",
        "",
        "  tftp at tftp://127.0.0.1:6969",
        "",
        "  thinbridge send mqtts://[::1]:8883/greeting -d hello --ca FILE",
        "",
        "  coap-client-notls -m post -e hello coap+tcp://127.0.0.1:5683/greeting",
        "  thinbridge send coap+tcp://127.0.0.1:5683/greeting -d hello",
        "",
        "  thinbridge send mqtt+ws://127.0.0.1:8083/greeting -d hello",
        "",
        "Ctrl-C ends it.",
        "",
    ]


def test_a_program_that_the_shell_does_not_find_is_called_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("sys.argv", [".venv/bin/thinbridge", "dev"])
    assert banner.program() == ".venv/bin/thinbridge"


def test_whether_it_listens_or_calls_is_said() -> None:
    assert banner.where(endpoint("mqtt://127.0.0.1:1883")) == "listens on mqtt://127.0.0.1:1883"
    broker = endpoint("mqtt+broker://broker:1883")
    assert banner.where(broker) == "takes messages from mqtt+broker://broker:1883"
