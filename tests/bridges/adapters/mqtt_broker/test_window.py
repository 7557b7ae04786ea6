"""The order of acknowledgements, and which message is which after a reconnect."""

from collections import Counter

from thinbridge.adapters.mqtt_broker.window import REMEMBERED, Use, Window


def window(limit: int = 64, octets: int = 1 << 20) -> Window:
    made = Window(limit, octets, b"salt", Counter())
    made.connected(False)
    return made


def came(at: Window, packet_id: int, digest: int = 1, *, dup: bool = False) -> Use:
    use = at.arrived(packet_id, dup, digest, 100)
    assert use is not None
    return use


def acked(at: Window) -> list[int]:
    return [use.packet_id for use in at.acknowledge()]


def test_acknowledgements_leave_in_the_order_of_the_messages() -> None:
    at = window()
    one, two, three = came(at, 1), came(at, 2), came(at, 3)
    at.decided(two, 0)
    assert acked(at) == []
    at.decided(one, 0)
    assert acked(at) == [1, 2]
    at.decided(three, 0)
    assert acked(at) == [3]
    assert (at.open, at.held, at.unacknowledged) == (0, 0, 0)


def test_a_late_acknowledgement_never_goes_to_a_new_connection() -> None:
    at = window()
    old = came(at, 1)
    at.disconnected()
    at.connected(True)
    new = came(at, 1, digest=2)  # the same identifier for another message: the broker has dropped the old one
    at.decided(old, 0)
    assert acked(at) == []
    at.decided(new, 0)
    assert acked(at) == [1]


def test_what_comes_again_on_a_new_connection_is_the_same_message() -> None:
    at = window()
    waiting, done = came(at, 1, 1), came(at, 2, 2)
    at.decided(done, 0)
    at.disconnected()
    at.connected(True)
    assert at.arrived(1, True, 1, 100) is None
    assert at.arrived(2, True, 2, 100) is None
    assert acked(at) == []
    at.decided(waiting, 0)
    assert acked(at) == [1, 2]


def test_a_repeat_on_the_same_connection_is_acknowledged_once() -> None:
    at = window()
    use = came(at, 1)
    assert at.arrived(1, True, 1, 100) is None
    at.decided(use, 0)
    assert acked(at) == [1]


def test_a_broker_that_lost_its_session_sends_new_messages() -> None:
    at = window()
    old = came(at, 1)
    at.disconnected()
    at.connected(False)
    new = came(at, 1, dup=True)
    assert new.key != old.key
    at.decided(old, 0)
    at.decided(new, 0)
    assert acked(at) == [1]


def test_a_message_that_comes_again_after_its_acknowledgement_keeps_its_key() -> None:
    at = window()
    first = came(at, 1)
    at.decided(first, 0)
    assert acked(at) == [1]
    at.disconnected()
    at.connected(True)  # the acknowledgement was lost, or the broker crashed
    again = came(at, 1, dup=True)
    assert (again is first, again.key) == (False, first.key)
    at.decided(again, 0)
    assert acked(at) == [1]


def test_another_message_under_a_used_identifier_has_another_key() -> None:
    at = window()
    first = came(at, 1, 1)
    at.decided(first, 0)
    at.acknowledge()
    at.disconnected()
    at.connected(True)
    assert came(at, 1, 2, dup=True).key != first.key


def test_a_broker_that_gives_identifiers_again_at_once_gets_no_benefit_of_the_doubt() -> None:
    at = window()
    for _ in range(2):
        at.decided(came(at, 1), 0)
        at.acknowledge()
    second = came(at, 2, 7)
    at.decided(second, 0)
    at.acknowledge()
    at.disconnected()
    at.connected(True)
    assert came(at, 2, 7, dup=True).key != second.key


def test_what_is_remembered_is_bounded() -> None:
    at = window()
    first = came(at, 1)
    at.decided(first, 0)
    for packet_id in range(2, REMEMBERED + 2):
        at.decided(came(at, packet_id), 0)
        at.acknowledge()
    at.disconnected()
    at.connected(True)
    assert came(at, 1, dup=True).key != first.key


def test_what_was_accepted_is_known_after_many_connections() -> None:
    at = window()
    use = came(at, 1)
    at.disconnected()
    at.decided(use, 0)
    for _ in range(3):  # each was lost before the broker came to it
        at.connected(True)
        at.disconnected()
    at.connected(True)
    assert at.arrived(1, True, 1, 100) is None
    assert acked(at) == [1]


def test_what_the_broker_does_not_send_again_is_forgotten_some_day() -> None:
    at = window()
    uses = [came(at, packet_id) for packet_id in range(1, REMEMBERED + 12)]
    at.disconnected()
    for use in uses[1:]:
        at.decided(use, 0)
    at.connected(True)
    assert at.arrived(1, True, 1, 100) is None  # not accepted yet
    assert at.arrived(2, True, 1, 100) is not None
    assert at.arrived(REMEMBERED, True, 1, 100) is None


def test_reading_pauses_by_number_and_by_bytes() -> None:
    at = window(limit=2)
    one, two = came(at, 1), came(at, 2)
    assert at.full
    at.decided(two, 0)
    at.acknowledge()
    assert at.full  # its acknowledgement waits for the first
    at.decided(one, 0)
    at.acknowledge()
    assert not at.full
    large = window(octets=500)
    large.counted(0, 10)
    assert large.full


def test_no_two_messages_share_a_key() -> None:
    at = window()
    keys = set()
    for packet_id in (1, 2, 1, 2):
        use = came(at, packet_id)
        keys.add(use.key)
        at.decided(use, 0)
        at.acknowledge()
    assert len(keys) == 4
