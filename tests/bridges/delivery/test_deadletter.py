"""What is written on a dead letter: Knative's delivery specification."""

from base64 import b64decode

from tests.bridges.delivery.virtual import DEAD, EVENT, SINK

from thinbridge.delivery import Answer, Terms, Verdict, deadletter
from thinbridge.events import encode
from thinbridge.routes import Content


def test_the_same_event_with_the_reason() -> None:
    letter = deadletter.letter(EVENT, "http://sink/", Answer(Verdict.REFUSED, 422, (), b"\x00" * 5000))
    assert letter.data == EVENT.data
    data = letter.attributes.pop("knativeerrordata")
    assert len(data) == 1024
    assert b64decode(data) == b"\x00" * 768
    assert letter.attributes == EVENT.attributes | {"knativeerrordest": "http://sink/", "knativeerrorcode": "422"}
    assert "knativeerrordest" not in EVENT.attributes


def test_no_answer_no_code() -> None:
    letter = deadletter.letter(EVENT, "http://sink/", Answer(Verdict.UNREACHED))
    assert letter.attributes == EVENT.attributes | {"knativeerrordest": "http://sink/"}
    assert "ce-specversion" in encode(letter)[0]


def test_its_own_small_budget() -> None:
    terms = deadletter.terms(DEAD, Terms(SINK, DEAD, Content.STRUCTURED, attempt_timeout=900.0, retries=None))
    assert (terms.sink, terms.dead_letter, terms.content) == (DEAD, None, Content.STRUCTURED)
    assert terms.retries == 3
    assert terms.attempt_timeout < deadletter.TIMEOUT
