"""What `thinbridge send` can say, and what it can't."""

import pytest

from thinbridge.cli.message import Message
from thinbridge.errors import SettingsError


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (
            Message("http://host/"),
            "URL: http://host/: write it as coap://host/path?query, mqtt://host/topic or udp://host:port",
        ),
        (Message("coaps://host/a"), "URL: coaps://host/a: DTLS is not there yet; use coap"),
        (
            Message("mqtts://host/a", ca="/nowhere"),
            "--ca: /nowhere: give a PEM file of certificates: No such file or directory",
        ),
        (
            Message("mqtts://host/a", certificate="/nowhere"),
            "--cert: /nowhere: give the PEM files of a certificate and of its key: No such file or directory",
        ),
        (
            Message("mqtt+broker://host/a"),
            "URL: mqtt+broker://host/a: write it as coap://host/path?query, mqtt://host/topic or udp://host:port",
        ),
        (Message("coap://"), "URL: coap://: write it as coap://host/path?query, mqtt://host/topic or udp://host:port"),
        (
            Message("coap://host:port"),
            "URL: coap://host:port: write it as coap://host/path?query, mqtt://host/topic or udp://host:port",
        ),
        (
            Message("coap://me@host/"),
            "URL: coap://me@host/: write it as coap://host/path?query, mqtt://host/topic or udp://host:port",
        ),
        (
            Message("coap://host/", method="SEND"),
            "--method: SEND: use one of GET, POST, PUT, DELETE, FETCH, PATCH, iPATCH",
        ),
        (Message("coap://host/", b"x", stay=1.0), "--observe: POST: observe by GET or FETCH"),
        (
            Message("coap://host/", b"x", content_type="a/b"),
            "--type: a/b: CoAP has no number for it; use one like application/json",
        ),
        (Message("mqtt://host"), "URL: mqtt://host: name a topic without wildcards, ? as %3F: mqtt://host/sensors/7"),
        (
            Message("mqtt://host/a/%23"),
            "URL: mqtt://host/a/%23: name a topic without wildcards, ? as %3F: mqtt://host/sensors/7",
        ),
        (Message("mqtt://host/a", version="4"), "--mqtt-version: 4: use 5 or 3.1.1"),
        (Message("mqtt://host/a", version="3.1.1", response_topic="b"), "--response-topic: b: use it with MQTT 5 only"),
        (Message("mqtt://host/a", response_topic="r/#"), "--response-topic: r/#: name a topic without wildcards"),
        (Message("mqtt://host/a", response_topic="+/r"), "--response-topic: +/r: name a topic without wildcards"),
        (Message("udp://host:1"), "--data: (none): say what to send: an empty datagram is no message"),
    ],
)
def test_what_cannot_be_sent_is_one_line(message: Message, line: str) -> None:
    with pytest.raises(SettingsError) as caught:
        message.check()
    assert str(caught.value) == line


@pytest.mark.parametrize(
    "message",
    [
        Message("coap://host/sensors/7?unit=C"),
        Message("coap://[::1]:5683/", b"21", "put", "application/json", confirmable=False),
        Message("coap://host/sensors/7", stay=1.0),
        Message("coap://host/sensors/7", b"what", "fetch", stay=1.0),
        Message("mqtt://host/sensors/7", qos=0),
        Message("mqtt://host/sensors/7", b"21", version="3.1.1"),
        Message("udp://host", b"21"),
    ],
)
def test_what_can_be_sent(message: Message) -> None:
    message.check()
