"""What protocols share."""

import pytest

from thinbridge.protocols.base import Address, peer_text


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("192.0.2.7", 5683), "192.0.2.7:5683"),
        (("2001:db8::7", 5683), "[2001:db8::7]:5683"),
        (("::ffff:192.0.2.7", 1, 0, 0), "192.0.2.7:1"),
        (("::ffff:c000:207", 1, 0, 0), "[::ffff:c000:207]:1"),
        (("fe80::1", 9000, 0, 2), "[fe80::1%2]:9000"),
        (("fe80::1%eth0", 9000, 0, 2), "[fe80::1%eth0]:9000"),
    ],
)
def test_an_address_as_text(address: Address, text: str) -> None:
    assert peer_text(address) == text
