"""The cache of forwarded requests, clause by clause (RFC 7252 §5.6), in virtual time."""

from collections import Counter

import pytest

from thinbridge.delivery import cache
from thinbridge.delivery.cache import OVERHEAD, Cache, Key
from thinbridge.delivery.coap import Call, Response
from thinbridge.delivery.terms import DeliveryLimits
from thinbridge.protocols.coap.codec import OptionValue, uint
from thinbridge.protocols.coap.codes import BAD_GATEWAY, CHANGED, CONTENT, FETCH, GET, VALID, Option, code

A: OptionValue = (Option.URI_PATH, b"a")
ETAG: OptionValue = (Option.ETAG, b"e1")
GONE = code("4.04")


def age(seconds: int) -> OptionValue:
    return Option.MAX_AGE, uint(seconds)


def key(*options: OptionValue, code: int = GET, payload: bytes = b"", sink: str = "coap://s/") -> Key:
    return cache.key(sink, Call(code, options, payload, exact=True))


def made(**limits: int) -> Cache:
    return Cache(DeliveryLimits(**limits), Counter())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (key(A), key(A), True),
        (key(A), key((Option.URI_PATH, b"b")), False),
        (key(A), key(A, sink="coap://t/"), False),
        (key(A), key(A, code=FETCH), False),
        (key(A, code=FETCH, payload=b"1"), key(A, code=FETCH, payload=b"2"), False),
        (key(A), key(A, (Option.ACCEPT, b"\x32")), False),
        (key(A), key(A, (Option.URI_QUERY, b"x")), False),
        (key(A), key(A, ETAG), True),  # the cache's own business
        (key(A), key(A, (Option.HOP_LIMIT, b"\4")), True),
        (key(A), key(A, (Option.SIZE1, b"\4")), True),  # NoCacheKey
        (key(A), key(A, (65_000, b"\4")), False),  # an option that nobody knows, and that may matter
    ],
)
def test_what_makes_requests_equal(one: Key, other: Key, same: bool) -> None:
    assert (one == other) is same


def test_a_response_is_fresh_for_its_max_age_and_says_what_is_left_of_it() -> None:
    kept = made()
    said = Response(CONTENT, [ETAG, (Option.OBSERVE, b"\1"), age(10), (Option.BLOCK2, b"\x0e")], b"x")
    assert kept.heard(key(A), None, said, 100.0) == Response(CONTENT, [ETAG, age(10)], b"x")
    assert kept.fresh(key(A), 103.5) == Response(CONTENT, [ETAG, age(6)], b"x")
    assert kept.fresh(key(A), 110.0) is None
    assert kept.fresh(key(), 101.0) is None
    assert kept._counters == {"cache_stored": 1, "cache_hits": 1}


def test_without_max_age_it_is_fresh_for_a_minute() -> None:
    kept = made()
    kept.heard(key(A), None, Response(CONTENT, [], b"x"), 100.0)
    assert kept.fresh(key(A), 159.0) == Response(CONTENT, [age(1)], b"x")
    assert kept.fresh(key(A), 160.0) is None


def test_what_may_not_be_kept_is_not() -> None:
    kept = made()
    for said in (Response(CONTENT, [age(0)], b"x"), Response(GONE, []), Response(code("5.03"), [])):
        assert kept.heard(key(A), None, said, 0.0) == said
    assert not kept


def test_an_error_that_says_how_long_is_kept() -> None:
    kept = made()
    kept.heard(key(A), None, Response(GONE, [age(5)]), 0.0)
    assert kept.fresh(key(A), 1.0) == Response(GONE, [age(4)])


def test_a_stale_response_is_validated_by_its_etag() -> None:
    kept = made()
    kept.heard(key(A), None, Response(CONTENT, [ETAG, (Option.CONTENT_FORMAT, b"\x3c"), age(0)], b"x"), 0.0)
    stored = kept.find(key(A))
    assert stored is not None
    assert stored.etag == b"e1"
    valid = Response(VALID, [ETAG, age(20)])
    updated = Response(CONTENT, [ETAG, (Option.CONTENT_FORMAT, b"\x3c"), age(20)], b"x")
    assert kept.heard(key(A), stored, valid, 10.0) == updated
    assert kept.fresh(key(A), 29.0) is not None
    assert kept._counters["cache_validated"] == 1


def test_a_validation_without_max_age_is_good_for_a_minute() -> None:
    kept = made()
    kept.heard(key(A), None, Response(CONTENT, [ETAG, age(5)], b"x"), 0.0)
    kept.heard(key(A), kept.find(key(A)), Response(VALID, [ETAG]), 10.0)
    assert kept.fresh(key(A), 69.0) is not None


@pytest.mark.parametrize("etag", [[], [(Option.ETAG, b"e2")]])
def test_a_validation_of_what_we_do_not_have_is_no_answer(etag: list[OptionValue]) -> None:
    kept = made()
    kept.heard(key(A), None, Response(CONTENT, [ETAG], b"x"), 0.0)
    assert kept.heard(key(A), kept.find(key(A)), Response(VALID, etag), 90.0) == Response(BAD_GATEWAY)
    assert kept.heard(key(A), None, Response(VALID, [ETAG]), 90.0) == Response(BAD_GATEWAY)


def test_what_is_evicted_while_its_server_is_asked_is_validated_all_the_same() -> None:
    kept = made(cache_entries=1)
    kept.heard(key(A), None, Response(CONTENT, [ETAG], b"x"), 0.0)
    stored = kept.find(key(A))
    kept.heard(key(), None, Response(CONTENT, [], b"y"), 0.0)
    assert kept.heard(key(A), stored, Response(VALID, [ETAG]), 90.0).payload == b"x"


def test_a_new_answer_takes_the_place_of_the_old() -> None:
    kept = made()
    for payload in (b"x", b"yy"):
        kept.heard(key(A), None, Response(CONTENT, [], payload), 0.0)
    assert (len(kept), kept.octets) == (1, OVERHEAD + 2)
    kept.heard(key(A), None, Response(GONE), 0.0)
    assert (len(kept), kept.octets) == (0, 0)


def test_a_change_makes_all_answers_of_its_resource_stale_and_no_others() -> None:
    kept = made()
    keys = [key(A), key(A, (Option.ACCEPT, b"\x32")), key((Option.URI_PATH, b"b"))]
    for one in keys:
        kept.heard(one, None, Response(CONTENT, [], b"x"), 0.0)
    kept.changed(key(A, code=2).place)
    kept.changed(key(A, code=2).place)
    assert [kept.find(one) is not None for one in keys] == [False, False, True]
    assert CHANGED not in (CONTENT,)


def test_the_bounds() -> None:
    kept = made(cache_entries=3, cache_bytes=3 * OVERHEAD + 100)
    keys = [key((Option.URI_PATH, b"%d" % number)) for number in range(5)]
    for one in keys[:3]:
        kept.heard(one, None, Response(CONTENT, [], b"x"), 0.0)
    kept.find(keys[0])
    kept.heard(keys[3], None, Response(CONTENT, [], b"x"), 0.0)
    assert [kept.find(one) is not None for one in keys] == [True, False, True, True, False]
    kept.heard(keys[4], None, Response(CONTENT, [], b"x" * 1000), 0.0)  # takes the bytes of all
    assert kept.octets <= 3 * OVERHEAD + 100
    kept.heard(keys[1], None, Response(CONTENT, [], b"x" * 10_000), 0.0)
    assert kept.find(keys[1]) is None  # never, alone
    assert kept._counters["cache_evicted"] == 4
