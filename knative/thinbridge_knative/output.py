"""How things look: tables, attributes, ages, conditions and `-o`, after kn's printers (`pkg/printers`)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from thinbridge_knative import jsonpath
from thinbridge_knative.failures import Failure
from thinbridge_knative.resource import GROUP, READY, SINGULAR

FORMATS: Final = ("json", "yaml", "name", "jsonpath", "jsonpath-as-json", "jsonpath-file")
UNITS: Final = ((365 * 86400, "y"), (86400, "d"), (3600, "h"), (60, "m"))
MARKS: Final = {"True": "++", "False": "!!"}
SEVERITIES: Final = {"Warning": " W", "Info": " I"}


def table(header: Sequence[str], rows: Sequence[Sequence[str]], headers: bool = True) -> str:
    """Aligned columns as Go's tabwriter lays them out for kn: at least six wide, three blanks between."""
    lines = [header, *rows] if headers else list(rows)
    widths = [max(3, *(len(line[column]) for line in lines)) + 3 for column in range(len(header) - 1)]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)) + line[-1] + "\n"
        for line in lines
    )


@dataclass(slots=True)
class Attributes:
    """`Name:  value` blocks as `describe` prints them; values of one block stand in one column."""

    blocks: list[list[tuple[str, str, int]]] = field(default_factory=lambda: [[]])
    """(label, value, depth)"""

    def add(self, label: str, value: object = "", depth: int = 0) -> None:
        """One line; without a label it continues the one above."""
        self.blocks[-1].append((f"{label}:" if label else "", str(value), depth))

    def line(self, text: str) -> None:
        """A line as it is, below the label above it."""
        self.blocks[-1].append(("", text, -1))

    def end(self) -> None:
        """A blank line; the next block has its own column."""
        self.blocks.append([])

    def __str__(self) -> str:
        return "\n".join("".join(self._block(block)) for block in self.blocks)

    @staticmethod
    def _block(block: list[tuple[str, str, int]]) -> Iterable[str]:
        widths: dict[int, int] = {}
        for label, _, depth in block:
            widths[depth] = max(widths.get(depth, 0), len(label) + 2)
        for label, value, depth in block:
            if depth < 0:
                yield f"  {value}\n"
            else:
                yield f"{'  ' * depth}{label.ljust(widths[depth])}{value}".rstrip() + "\n"


def age(stamp: str | None, now: datetime | None = None) -> str:
    """How long ago, in the largest unit: `45s`, `3m`, `5h`, `2d`."""
    if not stamp:
        return ""
    seconds = int(((now or datetime.now(UTC)) - datetime.fromisoformat(stamp)).total_seconds())
    for size, unit in UNITS:
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{max(0, seconds)}s"


def condition(thing: Mapping[str, Any], name: str = READY) -> Mapping[str, Any]:
    """One condition; empty where nobody has set it."""
    conditions = thing.get("status", {}).get("conditions", [])
    return next((one for one in conditions if one.get("type") == name), {})


def tally(thing: Mapping[str, Any]) -> str:
    """`3 OK / 3`."""
    conditions = thing.get("status", {}).get("conditions", [])
    return f"{sum(one.get('status') == 'True' for one in conditions)} OK / {len(conditions)}"


def reason(thing: Mapping[str, Any]) -> str:
    """Why it is not ready; nothing if it is."""
    ready = condition(thing)
    if ready.get("status") == "True" or not ready:
        return ""
    return " : ".join(text for text in (ready.get("reason"), ready.get("message")) if text)


def conditions(attributes: Attributes, thing: Mapping[str, Any], verbose: bool) -> None:
    """The table of conditions, Ready first."""
    attributes.add("Conditions")
    found = sorted(thing.get("status", {}).get("conditions", []), key=lambda one: (one["type"] != READY, one["type"]))
    width = max((len(one["type"]) for one in found), default=0)
    attributes.line(f"{'OK':2} {'TYPE':{width}} {'AGE':>6} REASON")
    for one in found:
        mark = MARKS.get(one["status"], "??")
        if one["status"] == "False" and one.get("severity"):
            mark = SEVERITIES.get(one["severity"], mark)
        why = one.get("reason", "")
        if verbose and why:
            why = f"{why} ({one.get('message', '')})"
        attributes.line(f"{mark} {one['type']:{width}} {age(one.get('lastTransitionTime')):>6} {why}".rstrip())


def check_format(output: str | None, allowed: Sequence[str] = FORMATS) -> None:
    """Refuse an unknown `-o` before anything is done.

    Raises:
        Failure: it is unknown, or lacks its template.
    """
    kind, _, template = (output or "json").partition("=")
    if kind not in allowed:
        raise Failure(
            f'unable to match a printer suitable for the output format "{output}", allowed formats are: '
            f"{','.join(sorted(allowed))}"
        )
    if kind.startswith("jsonpath") and not template:
        raise Failure(f"template format specified but no template given: write -o {kind}=TEMPLATE")


def machine(thing: dict[str, Any], output: str, managed_fields: bool = False) -> str:
    """An object or a `List` in the format of `-o`.

    Args:
        thing: as the API server sent it.
        output: checked by `check_format`.
        managed_fields: whether the bookkeeping of server-side apply is shown.
    """
    kind, _, template = output.partition("=")
    if not managed_fields:
        thing = _without_managed_fields(thing)
    if kind == "json":
        return json.dumps(thing, indent=4) + "\n"
    if kind == "yaml":
        return to_yaml(thing)
    if kind == "name":
        return "".join(f"{SINGULAR}.{GROUP}/{one['metadata']['name']}\n" for one in thing.get("items", [thing]))
    if kind == "jsonpath-file":
        return jsonpath.render(_template(template), thing)
    if kind == "jsonpath-as-json":
        return json.dumps(jsonpath.values(template, thing), indent=4) + "\n"
    return jsonpath.render(template, thing)


def to_yaml(thing: object) -> str:
    """YAML as Kubernetes' tools write it: sorted keys, lists not indented."""
    import yaml

    return str(yaml.safe_dump(thing, default_flow_style=False, allow_unicode=True))


def _without_managed_fields(thing: dict[str, Any]) -> dict[str, Any]:
    if "items" in thing:
        return {**thing, "items": [_without_managed_fields(one) for one in thing["items"]]}
    metadata = {key: value for key, value in thing.get("metadata", {}).items() if key != "managedFields"}
    return {**thing, "metadata": metadata}


def _template(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except OSError as error:
        raise Failure(f"error reading template {path}, {(error.strerror or '').lower()}") from error
