"""`make manifests`: the CRD from the settings model, and install.yaml, which is `base` in one file.

No kustomize is needed, and comments stay: a file of `base` says why it is as it is wherever it is read. A test compares
the result with what is committed, and with kustomize's where that is installed.
"""

from pathlib import Path
from typing import Final

import yaml

from thinbridge import __version__
from thinbridge_knative import schema

HERE: Final = Path(__file__).parent
BASE: Final = HERE / "base"
HEAD: Final = f"""\
# thinbridge {__version__}: the Bridge resource and its controller, for a cluster with Knative Serving and Eventing.
#
#   kubectl apply -f install.yaml
#
# Made from knative/manifests/base by `make manifests`: don't edit.
"""


def files() -> dict[Path, str]:
    """What is generated: each file, and its text."""
    crd = schema.text()
    resources = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    texts = [crd if name == "crd.yaml" else (BASE / name).read_text() for name in resources]
    return {BASE / "crd.yaml": crd, HERE / "install.yaml": "---\n".join([HEAD, *texts])}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
