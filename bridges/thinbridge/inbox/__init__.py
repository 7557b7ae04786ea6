"""The bridge's HTTP side: pushes in, health, metrics. `bridge` starts and stops it; its gate is the bridge."""

from thinbridge.inbox.app import App, Gate, InboxLimits
from thinbridge.inbox.server import Inbox

__all__ = ["App", "Gate", "Inbox", "InboxLimits"]
