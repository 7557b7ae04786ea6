"""What `kn bridge` tells people when something can't be done: one line, in kn's own words; exit status 1.

`Failure` is raised anywhere below `cli/`, which prints it. The words follow `pkg/errors` of kn.
"""

from collections.abc import Mapping
from typing import Any

from thinbridge.errors import ThinbridgeError
from thinbridge_knative.resource import CRD_NAME


class Failure(ThinbridgeError):
    """Something that can't be done; `str()` is what the user reads after `Error: `."""


class Unreachable(Failure):
    """No API server answers."""

    def __init__(self, place: str, why: str) -> None:
        super().__init__(f"error connecting to the cluster, please verify connection at: {place}: {why}")


class NoConfig(Failure):
    """Nothing says which cluster."""

    def __init__(self) -> None:
        super().__init__(
            "no kubeconfig has been provided, please use a valid configuration to connect to the cluster; set "
            "KUBECONFIG or --kubeconfig"
        )


class ApiFailure(Failure):
    """The API server refused.

    Args:
        code: the HTTP status.
        status: the `Status` object that it answered with; empty if it was none.
        text: what it said where it was none.
    """

    def __init__(self, code: int, status: Mapping[str, Any], text: str = "") -> None:
        self.code = code
        self.reason = str(status.get("reason", ""))
        details = status.get("details") or {}
        self.causes = tuple(str(cause.get("reason", "")) for cause in details.get("causes") or ())
        super().__init__(str(status.get("message") or text or f"the server answered {code}"))

    @property
    def missing(self) -> bool:
        """Whether there is no such object."""
        return self.code == 404

    @property
    def ending(self) -> bool:
        """Whether the namespace is being deleted, so that nothing new may be made in it."""
        return "NamespaceTerminating" in self.causes

    @property
    def conflict(self) -> bool:
        """Whether somebody else wrote it in the meantime."""
        return self.code == 409 and self.reason == "Conflict"


class NotInstalled(Failure):
    """The API server knows no bridges."""

    def __init__(self) -> None:
        super().__init__(
            f"no or newer thinbridge API found on the backend ({CRD_NAME}), please verify the installation or update "
            "the 'kn-bridge' client"
        )
