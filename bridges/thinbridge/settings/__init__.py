"""What an operator may say: one model for flags, environment, `bridge.yaml` and the Kubernetes resource.

    model.py    the settings, every key with its default and the reason for it
    listen.py   addresses: `coap:5683`, `udp://[::1]:9000?idle=60`, `127.0.0.1:8090`
    load.py     flags beat the environment beats the file; K_SINK and its kin
    faults.py   every mistake as one line: key, value, fix

`cli` loads them, `bridge` reads them. Nothing else looks at the environment.
"""

from thinbridge.settings.listen import Address, parse_address, parse_listen
from thinbridge.settings.load import CONFIG, load
from thinbridge.settings.model import LOCAL, RELOADED, Http, Limits, Listener, Settings

__all__ = [
    "CONFIG",
    "LOCAL",
    "RELOADED",
    "Address",
    "Http",
    "Limits",
    "Listener",
    "Settings",
    "load",
    "parse_address",
    "parse_listen",
]
