"""What a listener says that can't begin."""

import subprocess
import sys
from typing import Final

WITHOUT: Final = """
import sys
sys.modules["cbor2"] = None
from thinbridge.cli import main
main()
"""
RUN: Final = ["run", "--listen", "coap+oscore://127.0.0.1:0/?contexts=/keys", "--sink", "http://127.0.0.1:9/"]


def test_oscore_without_its_extra_is_one_line() -> None:
    run = subprocess.run([sys.executable, "-c", WITHOUT, *RUN], capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert run.stderr.splitlines() == ["Error: listen: coap+oscore: no module cbor2: pip install 'thinbridge[oscore]'"]
