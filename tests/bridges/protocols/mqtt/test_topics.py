"""Topic names and filters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinbridge.protocols.mqtt import topics


@pytest.mark.parametrize("topic", ["a", "/", "a//b", "a b", "ä/ö", "$SYS/x", "a" * 1024, "/" * 63, "👩‍🚀/x", " "])
def test_names(topic: str) -> None:
    assert topics.is_name(topic)
    assert topics.is_filter(topic)
    assert topics.is_taken(topic)


@pytest.mark.parametrize(
    "topic",
    ["a" * 1025, "ä" * 513, "/" * 64, "a\0", "a\x1f", "a\x9f", "a\uffff", "a\ufdd0", "a\U0002fffe", "\ud800"],
)
def test_names_that_are_not_taken(topic: str) -> None:
    assert not topics.is_taken(topic)


def test_the_empty_text_is_neither() -> None:  # MQTT-4.7.3-1
    assert not topics.is_name("")
    assert not topics.is_filter("")


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


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        ("#", "a/b", True),
        ("#", "a/#", True),
        ("a/#", "a", True),
        ("a/#", "a/+/b", True),
        ("a/+", "a/#", False),
        ("a/+", "a/+", True),
        ("a/+", "a/b/c", False),
        ("a", "a/#", False),
        ("a/b", "a/+", False),
        ("a/b", "a", False),
    ],
)
def test_covers(wide: str, narrow: str, expected: bool) -> None:
    assert topics.covers(tuple(wide.split("/")), tuple(narrow.split("/"))) is expected


@given(st.text("ab/+#", min_size=1, max_size=6), st.text("ab/", min_size=1, max_size=6))
def test_every_topic_begins_with_what_is_fixed(text: str, topic: str) -> None:
    levels = tuple(text.split("/"))
    if topics.is_filter(text) and topics.matches(levels, topic):
        assert topics.fixed(levels) in set(topics.beginnings(topic))


def test_ours() -> None:
    assert topics.is_ours("a/b")
    assert not any(topics.is_ours(topic) for topic in ("", "$a", "a/+", "a\x01", "a" * 1025))


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


def test_nothing_is_normalised() -> None:  # MQTT-4.7.3-4
    assert not topics.matches(("\u00e9",), "e\u0301")
    assert not topics.matches(("A",), "a")
    assert not topics.matches(("a",), "a ")
    assert topics.matches(("\ufeffa",), "\ufeffa")
