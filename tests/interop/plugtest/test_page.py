"""The table of scenarios in `docs/protocols/coap.md` says what the tests here play, and how each ends.

python tests/interop/plugtest/test_page.py    prints the table as the tests have it
"""

import ast
import re
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[3] / "docs" / "protocols" / "coap.md"


class Scenario(NamedTuple):
    """A row."""

    name: str
    what: str
    result: str


def played() -> list[Scenario]:
    """The scenarios that tests play: a test's name has the number, its docstring the objective.

    A line of the docstring that begins with `Deviation:` says that the test asserts something else than ETSI's text.
    """
    scenarios = []
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            found = re.fullmatch(r"test_(core|link|block|obs)_(\d\d)", getattr(node, "name", ""))
            if found is None or not isinstance(node, ast.FunctionDef):
                continue
            what, _, deviation = " ".join((ast.get_docstring(node) or "").split()).partition(" Deviation: ")
            result = f"deviation: {deviation}" if deviation else "pass"
            scenarios.append(Scenario(f"{found[1].upper()} {found[2]}", what.rstrip("."), result.rstrip(".")))
    return scenarios


def row(scenario: Scenario) -> str:
    """As the page has it."""
    return f"| {' | '.join(scenario)} |"


def test_the_page_has_every_scenario() -> None:
    table = re.findall(r"^\| (?:CORE|LINK|BLOCK|OBS) \d\d \|.*\|$", PAGE.read_text("utf-8"), re.MULTILINE)
    order = ["CORE", "LINK", "BLOCK", "OBS"]
    scenarios = sorted(played(), key=lambda scenario: (order.index(scenario.name.split()[0]), scenario.name))
    assert table == [row(scenario) for scenario in scenarios]


def test_every_scenario_is_played() -> None:
    wanted = [f"CORE {number:02}" for number in (*range(1, 24), 31)]
    wanted += [f"LINK {number:02}" for number in range(1, 10)]
    wanted += [f"BLOCK {number:02}" for number in range(1, 7)]
    wanted += [f"OBS {number:02}" for number in range(1, 15)]
    assert set(wanted) - {scenario.name for scenario in played()} == set()


if __name__ == "__main__":
    print("\n".join(map(row, played())))
