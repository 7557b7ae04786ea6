"""`docs/protocols/mqtt-conformance.md` has every normative statement, and names tests and vectors that exist."""

import ast
import json
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "protocols" / "mqtt-conformance.md").read_text("utf-8")

COUNTS = {
    "MQTT 5.0": {
        **{"1.5.4": 3, "1.5.5": 1, "1.5.7": 1, "2.1.3": 1, "2.2.1": 6, "2.2.2": 1},
        **{"3.1.0": 2, "3.1.2": 30, "3.1.3": 12, "3.1.4": 6, "3.2.0": 2, "3.2.2": 22, "3.3.1": 13, "3.3.2": 20},
        **{"3.3.4": 10, "3.4.2": 3, "3.5.2": 3, "3.6.1": 1, "3.6.2": 3, "3.7.2": 3, "3.8.1": 1, "3.8.3": 5, "3.8.4": 8},
        **{"3.9.2": 2, "3.9.3": 2, "3.10.1": 1, "3.10.3": 2, "3.10.4": 6, "3.11.2": 2, "3.11.3": 2, "3.12.4": 1},
        **{"3.14.0": 1, "3.14.1": 1, "3.14.2": 4, "3.14.4": 3, "3.15.1": 1, "3.15.2": 3, "4.1.0": 2, "4.2": 1},
        **{"4.3.1": 1, "4.3.2": 5, "4.3.3": 13, "4.4.0": 2, "4.5.0": 2, "4.6.0": 6, "4.7.0": 1, "4.7.1": 2, "4.7.2": 1},
        **{"4.7.3": 4, "4.8.2": 6, "4.9.0": 3, "4.12.0": 7, "4.12.1": 2, "4.13.1": 1, "4.13.2": 1, "6.0.0": 4},
    },
    "MQTT 3.1.1": {
        **{
            "1.5.3": 3,
            "2.2.2": 2,
            "2.3.1": 7,
            "3.1.0": 2,
            "3.1.2": 24,
            "3.1.3": 11,
            "3.1.4": 5,
            "3.2.0": 1,
            "3.2.2": 6,
        },
        **{"3.3.1": 12, "3.3.2": 3, "3.3.4": 1, "3.3.5": 2, "3.6.1": 1, "3.8.1": 1, "3.8.3": 3, "3.8.4": 6},
        **{
            "3.9.3": 2,
            "3.10.1": 1,
            "3.10.3": 2,
            "3.10.4": 6,
            "3.12.4": 1,
            "3.14.1": 1,
            "3.14.4": 3,
            "4.1.0": 2,
            "4.3.1": 1,
        },
        **{"4.3.2": 2, "4.3.3": 2, "4.4.0": 1, "4.5.0": 2, "4.6.0": 6, "4.7.1": 3, "4.7.2": 1, "4.7.3": 4, "4.8.0": 2},
        **{"6.0.0": 4, "7.0.0": 2, "7.1.1": 1, "7.1.2": 1},
    },
}
"""How many statements each section has; their numbers have no gaps, but for those in `ODD`."""

ODD = {"MQTT 5.0": ({"MQTT-2.2.1-1"}, set[str]()), "MQTT 3.1.1": (set[str](), {"MQTT-3-8.3-4"})}
"""A number that the standard skips, and one that it writes with another hyphen."""


def statements(version: str) -> set[str]:
    """All identifiers of a standard."""
    missing, more = ODD[version]
    numbered = {f"MQTT-{part}-{n}" for part, count in COUNTS[version].items() for n in range(1, count + 1)}
    return numbered - missing | more


def rows(version: str) -> dict[str, str]:
    """What shows each statement."""
    text = PAGE.partition(f"## {version}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| `(MQTT-[0-9.-]+)` \| .+? \| (.+) \|$", text, re.MULTILINE)
    assert len(found) == len(dict(found)), "a statement is there twice"
    return dict(found)


@cache
def defined(name: str) -> frozenset[str]:
    """The tests of a module."""
    folder, _, module = name.rpartition("/")
    places = {"": Path(__file__).parent, "interop": ROOT / "tests" / "interop"}
    path = places.get(folder, ROOT / "tests" / "bridges" / folder) / f"{module}.py"
    names = [ast.unparse(one.targets[0]) for one in (parse(path).body) if isinstance(one, ast.Assign)]
    return frozenset([*names, *(one.name for one in parse(path).body if isinstance(one, ast.FunctionDef))])


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@cache
def vectors(name: str) -> frozenset[str]:
    """The cases of a vectors file."""
    cases = json.loads((ROOT / "tests" / "vectors" / f"{name}.json").read_text("utf-8"))["cases"]
    return frozenset(case["name"] for case in cases)


def exists(evidence: str) -> bool:
    """Whether there is such a test or case."""
    file, colon, case = evidence.partition(": ")
    if colon:
        found = vectors(file)
        return any(one.startswith(case[:-1]) for one in found) if case.endswith("…") else case in found
    module, _, test = evidence.rpartition(".")
    return test in defined(module)


@pytest.mark.parametrize("version", COUNTS)
def test_every_statement_is_there(version: str) -> None:
    assert set(rows(version)) == statements(version)


@pytest.mark.parametrize("version", COUNTS)
def test_every_statement_is_shown_by_something_that_exists_or_not_applicable(version: str) -> None:
    wrong = {}
    for statement, shown in rows(version).items():
        named = re.findall(r"`((?:mqtt(?:-bad)?: |(?:[a-z]+/)?test_)[^`]+)`", shown)
        if shown.startswith("not applicable: "):
            assert len(shown) > len("not applicable: clients") - 1
        else:
            assert named, statement
        missing = [one for one in named if not exists(one)]
        if missing:
            wrong[statement] = missing
    assert not wrong


@pytest.mark.parametrize("version", COUNTS)
def test_what_is_obeyed_is_named_where_it_is(version: str) -> None:
    text = "\n".join(path.read_text("utf-8") for path in (ROOT / "bridges" / "thinbridge").rglob("*.py"))
    applicable = [one for one, shown in rows(version).items() if not shown.startswith("not applicable")]
    assert [one for one in applicable if not re.search(re.escape(one) + r"(?!\d)", text)] == []
