"""`Reply`, `reject`, `retry`, `later`: what is refused before it could be sent."""

from typing import Any

import pytest

from thinbridge_functions import Reply, later, reject, retry
from thinbridge_functions.answers import Answer, canonical, payload


def test_all_can_be_raised() -> None:
    for answer in (reject("no"), retry(), later()):
        assert isinstance(answer, Answer)
    assert str(reject("no such sensor", status=404)) == "no such sensor"


@pytest.mark.parametrize("status", [200, 399, 500, 503])
def test_a_rejection_is_a_4xx(status: int) -> None:
    with pytest.raises(ValueError, match="400 to 499"):
        reject("no", status=status)


@pytest.mark.parametrize("after", [-1, float("nan"), float("inf")])
def test_retry_after_seconds(after: float) -> None:
    with pytest.raises(ValueError, match="seconds"):
        retry(after)


@pytest.mark.parametrize("status", [100, 202, 204, 304, 600])
def test_a_reply_has_a_status_that_may_carry_an_event(status: int) -> None:
    with pytest.raises(ValueError, match="200, 201 or an error"):
        Reply(status=status)


@pytest.mark.parametrize("topic", ["", "lamp/#", "lamp/+/on"])
def test_a_reply_has_a_topic_that_one_can_publish_to(topic: str) -> None:
    with pytest.raises(ValueError, match=r"^Reply\(mqtt_topic='.*'\): must be the topic of a message"):
        Reply(mqtt_topic=topic)


@pytest.mark.parametrize("qos", [-1, 3])
def test_a_reply_has_a_qos_that_the_bridge_has(qos: int) -> None:
    with pytest.raises(ValueError, match=r"^Reply\(mqtt_qos=-?\d\): must be 0, 1 or 2$"):
        Reply(mqtt_qos=qos)
    with pytest.raises(ValueError, match=r"^Reply\(coap_observe='no'\): must be True, False or \"refresh\"$"):
        Reply(coap_observe="no")  # type: ignore[arg-type]
    assert Reply(coap_observe="refresh", coap_confirmable=False).attributes() == {
        "coapobserve": "refresh",
        "coapconfirmable": "false",
    }
    assert Reply(mqtt_qos=0).attributes() == {"mqttqos": "0"}


def test_a_reply_steers_by_the_contracts_names() -> None:
    reply = Reply(
        type="com.example.reading",
        subject="a",
        content_type="text/csv",
        coap_code="2.03",
        coap_max_age=60,
        coap_etag=b"\x01\xff",
        coap_observe=True,
        content_range="bytes 0-1/9",
        mqtt_topic="a/b",
        mqtt_qos=1,
        mqtt_retain=False,
        mqtt_expiry=60,
        extensions={"site": "north", "floor": 3},
    )
    assert reply.attributes() == {
        "type": "com.example.reading",
        "subject": "a",
        "datacontenttype": "text/csv",
        "coapcode": "2.03",
        "coapmaxage": "60",
        "coapetag": "01ff",
        "coapobserve": "true",
        "contentrange": "bytes 0-1/9",
        "mqtttopic": "a/b",
        "mqttqos": "1",
        "mqttretain": "false",
        "mqttexpiry": "60",
        "site": "north",
        "floor": "3",
    }


@pytest.mark.parametrize("name", ["", "Site", "my_site", "my-site", "data", "größe", "a" * 65])
def test_names_that_no_attribute_may_have(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Reply(extensions={name: "x"})


@pytest.mark.parametrize("value", ["a\nb", "\x00", "\x85", "\ud800", "\ufdd0", "\uffff"])
def test_values_that_no_attribute_may_have(value: str) -> None:
    with pytest.raises(ValueError, match="control"):
        Reply(mqtt_topic=value)
    with pytest.raises(ValueError, match="control"):
        Reply(content_type=value)


def test_names_that_only_begin_like_data() -> None:
    assert canonical({"database": 1, "data64": False}) == {"database": "1", "data64": "false"}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x00", (b"\x00", "application/octet-stream")),
        (bytearray(b"a"), (b"a", "application/octet-stream")),
        (memoryview(b"a"), (b"a", "application/octet-stream")),
        ("größe", ("größe".encode(), "text/plain;charset=utf-8")),
        ({"ü": [1, True, None]}, ('{"ü":[1,true,null]}'.encode(), "application/json")),
        ([], (b"[]", "application/json")),
    ],
)
def test_payload(data: Any, expected: tuple[bytes, str]) -> None:
    assert payload(data) == expected


@pytest.mark.parametrize("data", [7, 1.5, True, (1, 2), {"a": object()}, {1, 2}])
def test_what_is_no_payload(data: Any) -> None:
    with pytest.raises(TypeError):
        payload(data)


def test_not_a_number_is_no_payload() -> None:
    with pytest.raises(ValueError, match="JSON"):
        payload({"a": float("nan")})
