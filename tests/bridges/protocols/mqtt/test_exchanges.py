"""The book of exchanges."""

from collections import Counter

from thinbridge.protocols.mqtt.exchanges import OVERHEAD, Exchange, Exchanges


def book_of(replies: int = 1, octets: int = 1000) -> tuple[Exchanges, Counter[str]]:
    counters: Counter[str] = Counter()
    return Exchanges(replies, octets, counters), counters


def test_exchanges() -> None:
    book, _ = book_of()
    asked = book.begin(Exchange(0), "r", b"c", 10)
    silent = book.begin(Exchange(1), None, None, 10)
    assert (asked.number, silent.number, book.number()) == (1, 2, 3)
    assert (book.qos0, book.unanswered, bool(book)) == (1, 2, True)
    assert book.find(1) is book.target(1) is asked
    assert book.held == 2 * (10 + OVERHEAD)
    book.end(asked)
    book.end(asked)
    book.end(silent)
    assert (book.qos0, book.unanswered, bool(book), book.held) == (0, 0, False, 0)
    assert book.find(1) is None
    assert book.target(1) is asked  # a push still finds its Response Topic
    assert book.target(2) is book.target(None) is None
    book.end(book.begin(Exchange(1), "r", None, 10))
    assert book.target(1) is None
    book.clear()
    assert book.target(4) is None


def test_exchanges_that_answer_later() -> None:
    book, counters = book_of()
    first, second = book.begin(Exchange(1), "r", None, 10), book.begin(Exchange(1), "r", None, 10)
    book.wait(first)
    book.wait(first)
    assert (book.unanswered, book.held) == (1, 10 + OVERHEAD)
    assert not counters
    book.wait(second)
    assert counters == {"pending_full": 1}
    assert (book.find(1), book.find(2)) == (None, second)


def test_where_answers_go_is_bounded_by_bytes_too() -> None:
    book, counters = book_of(replies=3, octets=100)
    kept = [book.begin(Exchange(1), "r", bytes(39), 0) for _ in range(3)]
    for exchange in kept:
        book.end(exchange)
    assert [book.target(exchange.number) for exchange in kept] == [None, *kept[1:]]
    assert counters == {"replies_forgotten": 1}
    large = book.begin(Exchange(1), "r", bytes(100), 0)
    book.end(large)
    assert [book.target(exchange.number) for exchange in (*kept, large)] == [None] * 4
    book.end(book.begin(Exchange(1), "r", bytes(99), 0))
    assert book.target(5) is not None


def test_those_that_answer_later_are_bounded_by_bytes_too() -> None:
    book, counters = book_of(replies=3, octets=100)
    kept = [book.begin(Exchange(0), "r", bytes(39), 0) for _ in range(3)]
    for exchange in kept:
        book.wait(exchange)
    assert [book.find(exchange.number) for exchange in kept] == [None, *kept[1:]]
    assert book.target(1) is kept[0]  # it is remembered as one that was answered
    assert (book.qos0, book.held, counters) == (2, 0, {"pending_full": 1})
    book.wait(book.begin(Exchange(1), None, None, 0))  # it takes no bytes
    assert book.find(2) is kept[1]


def test_one_that_is_reported_again_is_remembered_once() -> None:
    book, _ = book_of(replies=1)
    withheld = book.begin(Exchange(1), "r", b"c", 0)
    book.end(withheld)
    book.end(book.begin(withheld, "r", b"c", 0))
    assert (book.target(1), book.target(2)) == (None, withheld)
    other = book.begin(Exchange(1), "r", b"c", 0)
    book.end(other)
    assert (book.target(2), book.target(3)) == (None, other)
