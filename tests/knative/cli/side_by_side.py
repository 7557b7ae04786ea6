"""`kn bridge` beside `kn source apiserver` and `kn service`: recorded on a real cluster, kept in docs/kn-bridge.md.

    python -m tests.knative.cli.side_by_side record    runs both on the cluster of $KUBECONFIG, writes the JSON;
                                                       namespace `farm` must have a Knative service `thermostat`
    python -m tests.knative.cli.side_by_side           writes the page's second half from that and from errors.toml

`test_page.py` fails where the page is stale.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
RECORDED: Final = HERE / "side_by_side.json"
PAGE: Final = HERE.parents[2] / "docs" / "kn-bridge.md"
MARK: Final = "<!-- What follows is made by tests/knative/cli/side_by_side.py: don't edit. -->\n"
NAMESPACE: Final = ("-n", "farm")

Pair = tuple[str, list[str], list[str]]
"""What it shows, kn's words, our words."""

PAIRS: Final[list[Pair]] = [
    ("The commands", ["source", "apiserver", "--help"], ["--help"]),
    ("The page of a command", ["source", "apiserver", "delete", "--help"], ["delete", "--help"]),
    ("Nothing there yet", ["source", "apiserver", "list", *NAMESPACE], ["list", *NAMESPACE]),
    (
        "Creating without waiting",
        ["source", "apiserver", "create", "k8s", "--resource", "Event:v1", "--sink", "ksvc:thermostat", *NAMESPACE],
        ["create", "meters", "--listen", "udp:9000", "--sink", "ksvc:thermostat", "--no-wait", *NAMESPACE],
    ),
    (
        "Creating and waiting",
        ["service", "create", "echo", "--image", "dev.local/probe:1", "--arg", "echo", *NAMESPACE],
        ["create", "iot", "--listen", "coap:5683", "--listen", "mqtt:1883", "--sink", "ksvc:thermostat", *NAMESPACE],
    ),
    ("The table", ["source", "apiserver", "list", *NAMESPACE], ["list", *NAMESPACE]),
    ("Both among the sources", ["source", "list", *NAMESPACE], []),
    ("For programs", ["source", "apiserver", "list", "-o", "name", *NAMESPACE], ["list", "-o", "name", *NAMESPACE]),
    (
        "One field",
        ["source", "apiserver", "list", "-o", "jsonpath={.items[*].spec.sink.ref.name}", *NAMESPACE],
        ["list", "-o", "jsonpath={.items[*].spec.sink.ref.name}", *NAMESPACE],
    ),
    ("Details", ["source", "apiserver", "describe", "k8s", *NAMESPACE], ["describe", "iot", *NAMESPACE]),
    ("Waiting", ["service", "wait", "echo", "--wait-timeout", "5", *NAMESPACE], ["wait", "iot", *NAMESPACE]),
    ("An update", ["source", "apiserver", "update", "k8s", "--mode", "Resource", *NAMESPACE], []),
    ("", [], ["update", "iot", "--mode", "event", "--no-wait", *NAMESPACE]),
    ("Deleting one", ["source", "apiserver", "delete", "k8s", *NAMESPACE], ["delete", "meters", *NAMESPACE]),
    ("Deleting all", ["service", "delete", "echo", *NAMESPACE], ["delete", "--all", *NAMESPACE]),
]


def cases() -> list[dict[str, Any]]:
    """The mistakes."""
    found: list[dict[str, Any]] = tomllib.loads((HERE / "errors.toml").read_text("utf-8"))["case"]
    return found


def record() -> None:
    """Run all of it on the cluster."""
    pairs = [
        {"title": title, "kn": kn and _shown(["kn", *kn]), "ours": ours and _shown(["kn", "bridge", *ours])}
        for title, kn, ours in PAIRS
    ]
    errors = {" ".join(case["kn"]): _first_error(case["kn"]) for case in cases() if "kn" in case}
    RECORDED.write_text(json.dumps({"pairs": pairs, "errors": errors}, indent=1, ensure_ascii=False) + "\n", "utf-8")


def page() -> str:
    """The page as it should be."""
    head = PAGE.read_text("utf-8").partition(MARK)[0]
    recorded = json.loads(RECORDED.read_text("utf-8"))
    return f"{head}{MARK}\n## Side by side with kn\n\n{_texts(recorded['pairs'])}{_errors(recorded['errors'])}"


def _texts(pairs: list[dict[str, str]]) -> str:
    text = "Recorded on a real cluster; `kn` is kn itself, `kn bridge` runs through it.\n"
    for pair in pairs:
        blocks = [f"```console\n{block}```\n" for block in (pair["kn"], pair["ours"]) if block]
        text += (f"\n**{pair['title']}**\n" if pair["title"] else "") + "".join(f"\n{block}" for block in blocks)
    return text


def _errors(recorded: dict[str, str]) -> str:
    rows = []
    for case in cases():
        theirs = " ".join(case.get("kn", []))
        kn = f"`kn {theirs}`<br>{_cell(recorded[theirs])}" if theirs else "–"
        rows.append(f"| `{' '.join(['kn bridge', *case['words']])}`<br>{_cell(case['error'])} | {kn} |\n")
    head = "\n## Mistakes\n\nEach is one message on stderr after `Error: `, exit status 1, and nothing is changed.\n\n"
    return f"{head}| kn bridge | kn, in the same case |\n|---|---|\n{''.join(rows)}"


def _cell(text: str) -> str:
    return text.replace("{installed}", "coap, mqtt, …").replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _shown(words: list[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    line = " ".join(f"'{word}'" if re.search(r"[{*\s]", word) else word for word in words)
    text = "\n".join(part.rstrip() for part in (done.stdout + done.stderr).splitlines())
    return f"$ {line}\n{text}\n"


def _first_error(words: list[str]) -> str:
    done = subprocess.run(["kn", *words], capture_output=True, text=True, timeout=60, check=False)
    return done.stderr.splitlines()[0].removeprefix("Error: ")


if __name__ == "__main__":
    if sys.argv[1:] == ["record"]:
        record()
    PAGE.write_text(page(), "utf-8")
