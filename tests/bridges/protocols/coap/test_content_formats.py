"""Content-Formats, both ways."""

from datetime import date

import aiocoap
import pytest

from thinbridge.protocols.coap.content_formats import CODED, MEDIA_TYPES, UPDATED, content_format


@pytest.mark.parametrize(
    ("media_type", "number"),
    [
        (None, None),
        ("", None),
        ("application/json", 50),
        ("Application/JSON ; charset=utf-8", 50),
        ("application/cbor", 60),
        ("text/plain", 0),
        ("text/plain;charset=utf-8", 0),
        ("text/plain; charset=UTF-8", 0),
        ('text/plain; charset="utf-8"', 0),
        ("text/plain; charset=iso-8859-1", None),
        ("application/yang-data+cbor; id=sid", 140),
        ("image/x-unheard-of", None),
        ("text/plain; charset=us-ascii", 0),
        ("text/plain; format=flowed", None),
        ("application/cose; cose-type=cose-sign1", 18),
        ("application/cose; cose-type=cose-unheard-of", None),
        ("application/cose", None),
        ("application/aif+cbor;toid=unheard-of", None),
        ("APPLICATION/AIF+CBOR;TOID=cri-local-part", 292),
        ('application/eat+cwt; eat_profile="tag:psacertified.org,2023:psa#tfm"', 10003),
    ],
)
def test_the_content_format_of_a_header(media_type: str | None, number: int | None) -> None:
    assert content_format(media_type) == number


def test_every_number_has_its_media_type_and_back() -> None:
    assert all(content_format(media_type) == number for number, media_type in MEDIA_TYPES.items())
    assert not MEDIA_TYPES.keys() & CODED.keys()
    assert date.fromisoformat(UPDATED)


RENAMED = {836: "application/voucher-cose+cbor"}
"""What IANA has changed since the peer's table was made."""


def test_an_independent_table_says_the_same() -> None:
    compared = 0
    for number, ours in (MEDIA_TYPES | CODED).items():
        theirs = aiocoap.ContentFormat(number)
        if theirs.is_known() and number not in RENAMED:
            plain = theirs.media_type.replace("; ", ";")
            assert ours == (plain if theirs.encoding == "identity" else (plain, theirs.encoding))
            compared += 1
    assert compared > 50
