"""Clients that we did not write, as functions: libcoap's, and npm's `coap`. For the tests beside this one."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from tests.conftest import NPM

CLIENT = Path(__file__).parents[1] / "coap_client.js"
PATIENCE = 30
"""Seconds; all of these clients wait for themselves, and a loaded machine is slow."""


def libcoap(port: int, path: str, *arguments: object) -> str:
    """What `coap-client-notls` prints. Its exit status is 0 whatever happens, so look at what it says."""
    url = path if path.startswith("coap") else f"coap://127.0.0.1:{port}{path}"
    command = ["coap-client-notls", "-B", "20", *map(str, arguments), url]
    done = _run(command)
    return (done.stdout + done.stderr).decode()


class Heard(NamedTuple):
    """One response, as npm's client has it."""

    code: str
    payload: str
    options: list[tuple[str, Any]]


def node(port: int, path: str, **request: Any) -> list[Heard]:
    """What npm's client hears; see `coap_client.js` for what it takes."""
    pathname, _, query = path.partition("?")
    argument = json.dumps({"port": port, "pathname": pathname, "query": query} | request)
    done = _run(["node", str(CLIENT), argument], NODE_PATH=str(NPM))
    assert done.returncode == 0, done.stderr.decode()
    return [
        Heard(one["code"], one["payload"], [(name, value) for name, value in one["options"]])
        for one in map(json.loads, done.stdout.decode().splitlines())
    ]


def _run(command: list[str], **environ: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(command, env=os.environ | environ, capture_output=True, timeout=PATIENCE, check=False)
