"""Topic names, filters, subscriptions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinbridge.protocols.mqtt import topics
from thinbridge.protocols.mqtt.topics import Subscription, Subscriptions


@pytest.mark.parametrize("topic", ["a", "/", "a//b", "a b", "ä/ö", "$SYS/x", "a" * 1024, "/" * 63, "👩‍🚀/x", " "])
def test_names(topic: str) -> None:
    assert topics.is_name(topic)
    assert topics.is_filter(topic)


@pytest.mark.parametrize(
    "topic",
    ["", "a" * 1025, "ä" * 513, "/" * 64, "a\0", "a\x1f", "a\x9f", "a\uffff", "a\ufdd0", "a\U0002fffe", "\ud800"],
)
def test_no_names(topic: str) -> None:
    assert not topics.is_name(topic)
    assert not topics.is_filter(topic)


@pytest.mark.parametrize("text", ["#", "+", "a/#", "+/a/+", "/+", "+/#", "a/+/#"])  # §4.7.1.2, §4.7.1.3
def test_filters(text: str) -> None:
    assert topics.is_filter(text)
    assert not topics.is_name(text)


@pytest.mark.parametrize("text", ["a#", "#/a", "a/#/b", "a+", "+a", "a/b+/c", "##", "a/+#"])
def test_no_filters(text: str) -> None:
    assert not topics.is_filter(text)


@pytest.mark.parametrize(
    ("text", "topic", "expected"),
    [
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/#", "ab", False),
        ("a/b/#", "a", False),
        ("#", "a/b", True),
        ("#", "$SYS/x", False),  # MQTT-4.7.2-1
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("+", "a", True),
        ("+", "/a", False),
        ("+/+", "/a", True),
        ("/+", "/a", True),
        ("a/+/c", "a/b/c", True),
        ("a/+/c", "a/b/d", False),
        ("a/+", "a", False),
    ],
)
def test_matches(text: str, topic: str, expected: bool) -> None:  # the examples of §4.7.1
    assert topics.matches(tuple(text.split("/")), topic) is expected


def test_subscriptions() -> None:
    subscriptions = Subscriptions(2)
    assert subscriptions.add("a/b", Subscription(0))
    assert subscriptions.add("a/+", Subscription(1))
    assert not subscriptions.add("c", Subscription(1))
    assert subscriptions.match("a/b") == Subscription(1)  # MQTT-3.3.5-1: the highest
    assert subscriptions.add("a/+", Subscription(0, True))
    assert subscriptions.match("a/b") == Subscription(0)
    assert subscriptions.match("a/c") == Subscription(0, True)
    assert subscriptions.match("c") is None
    assert subscriptions.remove("a/b")
    assert subscriptions.remove("a/+")
    assert not subscriptions.remove("a/+")
    assert len(subscriptions) == 0


@given(st.text("ab/+#$", min_size=1, max_size=8), st.text("ab/$", min_size=1, max_size=8))
def test_matching_agrees_with_a_regular_expression(text: str, topic: str) -> None:
    import re

    if not topics.is_filter(text) or not topics.is_name(topic):
        return
    pattern = re.escape(text).replace(r"\+", "[^/]*")
    if text == "#":
        pattern = ".*"
    elif pattern.endswith(r"/\#"):
        pattern = pattern[:-3] + "(/.*)?"
    hidden = topic[0] == "$" and text[0] in "+#"
    assert topics.matches(tuple(text.split("/")), topic) is (not hidden and re.fullmatch(pattern, topic) is not None)
