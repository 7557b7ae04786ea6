"""A datagram shell whose core has keys: locked when it is opened, written down and unlocked when it is closed."""

from thinbridge.adapters.coap.oscore import OscoreCoAP
from thinbridge.shells import DatagramShell


class OscoreShell(DatagramShell):
    """The endpoint of a `coap+oscore` listener."""

    core: OscoreCoAP

    async def open(self) -> None:
        """Take the keys, then the port."""
        self.core.unlock()
        try:
            await super().open()
        except BaseException:
            self.core.keys.close()
            raise

    async def close(self) -> None:
        """End every session; then nobody needs the keys."""
        await super().close()
        self.core.keys.close()
