"""The way from laptop to cluster, as docs/knative.md has it: each command, word by word, in a namespace of its own."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.e2e.cluster import ROOT, Space, timed
from tests.e2e.conftest import Record

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1000), pytest.mark.peer("coap-client-notls", "mosquitto_rr", "nc")]

PAGE = (ROOT / "docs/knative.md").read_text()
COMMANDS = "\n".join(re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
REMOVE_ALL = "kubectl delete -k knative/manifests/overlays/dev\n"
ANSWER = '{"setpoint":20.0,"heating":true}'


def test_every_command(space: Space, vacant: bool, tmp_path: Path, record: Record) -> None:
    assert COMMANDS.endswith(REMOVE_ALL)
    commands = COMMANDS if vacant else COMMANDS.removesuffix(REMOVE_ALL)  # other bridges would go with it
    config = tmp_path / "kubeconfig"
    shutil.copy(os.environ["KUBECONFIG"], config)
    environment = os.environ | {"KUBECONFIG": str(config)}
    if cluster := os.environ.get("E2E_CLUSTER"):
        environment["ENGINE"] = f"{cluster}/image"
    here = f"kubectl config set-context --current --namespace={space.name}\n"
    done, seconds = timed(
        lambda: subprocess.run(
            ["sh", "-eu"], input=here + commands, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=900
        )
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(ANSWER) == 4, done.stdout + done.stderr  # kn bridge send, and three programs
    record("docs/knative.md, every command, images included", f"{seconds:.0f} s")
