"""A mapping that forgets."""

from thinbridge.adapters.coap.recent import OVERHEAD, Recent


def test_the_longest_unused_goes() -> None:
    kept: Recent[str] = Recent(2 * OVERHEAD + 20)
    kept.keep("a", "A", 10)
    kept.keep("b", "B", 10)
    assert kept.get("a") == "A"
    kept.keep("c", "C", 10)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == ("A", None, "C")
    assert (len(kept), kept.octets) == (2, 2 * OVERHEAD + 20)


def test_what_is_replaced_counts_no_more() -> None:
    kept: Recent[str] = Recent(10_000)
    for size in (1000, 10):
        kept.keep("a", "A", size)
    assert kept.octets == OVERHEAD + 10


def test_what_is_larger_than_all_is_not_kept() -> None:
    kept: Recent[str] = Recent(1000)
    kept.keep("a", "A", 1000)
    assert (len(kept), kept.octets) == (0, 0)
