"""What counts as a difference: our own fields, and what quantities mean."""

from typing import Any

import pytest

from thinbridge_knative.controller.comparison import differs, holds


@pytest.mark.parametrize(
    ("live", "wanted", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1}, {"b": 1}, False),
        ([], {"a": 1}, False),
        ({"a": [{"name": "x", "more": 1}, {"name": "y"}]}, {"a": [{"name": "y"}, {"name": "x"}]}, True),
        ({"a": [{"name": "x"}]}, {"a": [{"name": "z"}]}, False),
        ({"a": "text"}, {"a": ["text"]}, False),
        ({"limits": {"memory": "1Gi", "cpu": "1"}}, {"limits": {"memory": "1024Mi", "cpu": 1}}, True),
        ({"requests": {"cpu": "100m"}}, {"requests": {"cpu": "0.1"}}, True),
        ({"requests": {"cpu": "100m"}}, {"requests": {"cpu": "101m"}}, False),
        ({"requests": {"cpu": "100m"}}, {"requests": {"cpu": "lots"}}, False),
        ({"data": {"a": "1Gi"}}, {"data": {"a": "1024Mi"}}, False),
    ],
)
def test_only_owned_fields_are_compared(live: Any, wanted: Any, expected: bool) -> None:
    assert holds(live, wanted) is expected


def test_an_object_that_was_never_applied_differs() -> None:
    assert differs({"metadata": {"annotations": {"thinbridge.dev/applied": "1"}}}, {"metadata": {}})
