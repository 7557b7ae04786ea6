"""Replicas in virtual time, on a broker that does what MQTT promises: one connection a client id, wills, order.

Over 400 lines because it mirrors one module.
"""

import random
from itertools import count

import pytest

from thinbridge.adapters.mqtt_broker.replicas import (
    BEAT,
    LEASE,
    PATIENCE,
    SETTLE,
    Act,
    Replicas,
    State,
    Word,
    decode,
)

ADOPT_AFTER = 10.0
STEP = 0.25


class Node:
    """One replica and its connections."""

    def __init__(self, cluster: "Cluster", name: str, seats: int, own: int | None) -> None:
        self.cluster, self.name = cluster, name
        self.replicas = Replicas(name, seats, own, ADOPT_AFTER, cluster.chance.random)
        self.listens = self.cut = False
        self.taken: list[int] = []

    @property
    def seats(self) -> set[int]:
        return {seat for seat, node in self.cluster.connections.items() if node is self}

    def step(self, now: float) -> None:
        if not self.listens and not self.cut and self.cluster.up:
            self.listens = True
            self.replicas.listening(now)
            for seat, word in self.cluster.retained.items():
                self.replicas.heard(seat, word, now)
        for act, seat in self.replicas.decide(now):
            if act is Act.TAKE:
                self.taken.append(seat)
            elif act is Act.LEAVE:
                self.cluster.connections.pop(seat, None)
                self.cluster.say(seat, Word(self.name, State.FREE))
                self.replicas.left(seat, now)
            elif act is Act.DROP:
                if self.cluster.connections.get(seat) is self:
                    del self.cluster.connections[seat]
            elif act is Act.ASK:
                for node in self.cluster.hearing():
                    node.replicas.wanted(seat, self.name)
            else:
                self.speak(seat)
        for seat in list(self.replicas.held):
            if seat not in self.seats and not self.cut and self.cluster.up and self.replicas.may_connect(seat, now):
                self.cluster.connect(self, seat)

    def speak(self, seat: int) -> None:
        if seat in self.seats and seat in self.replicas.held:
            self.cluster.say(seat, self.replicas.state(seat))


class Cluster:
    """The broker, the clock and the nodes."""

    def __init__(self, seats: int = 4, seed: int = 1) -> None:
        self.chance = random.Random(seed)
        self.count, self.names = seats, count()
        self.now, self.up = 0.0, True
        self.retained: dict[int, Word] = {}
        self.connections: dict[int, Node] = {}
        self.nodes: list[Node] = []
        self.beats = 0.0

    def start(self, own: int | None = None) -> Node:
        node = Node(self, f"n{next(self.names)}", self.count, own)
        self.nodes.append(node)
        return node

    def hearing(self) -> list[Node]:
        return [node for node in self.nodes if node.listens and not node.cut]

    def say(self, seat: int, word: Word) -> None:
        self.retained[seat] = word
        for node in self.hearing():
            node.replicas.heard(seat, word, self.now)

    def connect(self, node: Node, seat: int) -> None:
        other = self.connections.get(seat)
        self.connections[seat] = node
        if other is not None:
            self.say(seat, Word(other.name, State.FREE))  # the will of a connection that is taken over
            other.replicas.lost(seat)
        node.replicas.connected(seat, self.now)
        node.speak(seat)

    def kill(self, node: Node) -> None:
        self.nodes.remove(node)
        for seat in node.seats:
            del self.connections[seat]
            self.say(seat, Word(node.name, State.FREE))

    def cut(self, node: Node) -> None:
        """It hears and says nothing any more; the broker notices."""
        node.cut, node.listens = True, False
        for seat in node.seats:
            del self.connections[seat]
            self.say(seat, Word(node.name, State.FREE))
            node.replicas.lost(seat)
        node.replicas.deaf()

    def heal(self, node: Node) -> None:
        node.cut = False

    def crash(self) -> None:
        """The broker is killed: no will is ever sent."""
        self.up = False
        for seat, node in self.connections.items():
            node.replicas.lost(seat)
        self.connections.clear()
        for node in self.nodes:
            node.listens = False
            node.replicas.deaf()

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += STEP
            for node in self.chance.sample(self.nodes, len(self.nodes)):
                node.step(self.now)
            if self.up and self.now - self.beats >= BEAT:
                self.beats = self.now
                for node in self.nodes:
                    for seat in node.seats:
                        node.speak(seat)

    def check(self) -> None:
        """Every client id that was ever used is somebody's, and nobody waits while one is to be had."""
        assert set(self.retained) <= set(self.connections)
        for node in self.nodes:
            assert node.seats == set(node.replicas.held)
            assert all(held.heard for held in node.replicas.held.values())
        waiting = [node for node in self.nodes if node.replicas.waiting]
        adopted = [held for node in self.nodes for held in node.replicas.held.values() if held.adopted]
        assert not waiting or (not adopted and len(self.connections) == self.count)


def test_one_alone_takes_the_first() -> None:
    cluster = Cluster()
    node = cluster.start()
    cluster.run(SETTLE + 1)
    assert node.seats == {0}
    assert node.replicas.state(0).state is State.HELD
    cluster.check()


@pytest.mark.parametrize("seed", range(20))
def test_replicas_that_start_together_end_up_apart(seed: int) -> None:
    cluster = Cluster(seed=seed)
    nodes = [cluster.start() for _ in range(4)]
    cluster.run(15)
    assert sorted(seat for node in nodes for seat in node.seats) == [0, 1, 2, 3]
    cluster.check()


def test_one_too_many_waits_and_comes_in_at_once() -> None:
    cluster = Cluster(seats=1)
    first = cluster.start()
    cluster.run(5)
    second = cluster.start()
    cluster.run(60)
    assert (first.seats, second.seats, second.taken) == ({0}, set(), [])
    cluster.kill(first)
    cluster.run(2)
    assert second.seats == {0}
    assert not second.replicas.held[0].adopted


def test_the_share_of_the_dead_is_adopted_by_one_and_not_too_soon() -> None:
    cluster = Cluster()
    nodes = [cluster.start() for _ in range(3)]
    cluster.run(15)
    dead = nodes.pop()
    [seat] = dead.seats
    cluster.kill(dead)
    cluster.run(ADOPT_AFTER - 1)
    assert seat not in cluster.connections
    cluster.run(5)
    [heir] = [node for node in nodes if seat in node.seats]
    assert heir.replicas.held[seat].adopted
    assert len(heir.seats) == 2
    cluster.check()


def test_shares_of_the_dead_are_spread() -> None:
    cluster = Cluster(seats=6)
    nodes = [cluster.start() for _ in range(6)]
    cluster.run(20)
    for dead in nodes[3:]:
        cluster.kill(dead)
    cluster.run(30)
    assert sorted(len(node.seats) for node in nodes[:3]) == [2, 2, 2]


def test_a_newcomer_gets_an_adopted_seat_before_a_new_one_and_nobody_fights() -> None:
    cluster = Cluster()
    first, second = cluster.start(), cluster.start()
    cluster.run(10)
    [seat] = second.seats
    cluster.kill(second)
    cluster.run(20)
    assert first.seats == {0, 1}
    third = cluster.start()
    cluster.run(5)
    assert (third.seats, first.seats) == ({seat}, {0, 1} - {seat})
    assert (third.taken, third.replicas.held[seat].adopted) == ([seat], False)
    cluster.check()


def test_a_holder_that_does_not_leave_is_taken_over() -> None:
    cluster = Cluster(seats=1)
    cluster.retained[0] = Word("stuck", State.ADOPTED)
    node = cluster.start()
    for _ in range(int(PATIENCE + 3)):
        cluster.run(1)
        cluster.say(0, Word("stuck", State.ADOPTED)) if not node.seats else None
    assert node.seats == {0}


def test_a_broker_that_crashed_sends_no_will_so_silence_counts() -> None:
    cluster = Cluster()
    first, second = cluster.start(), cluster.start()
    cluster.run(10)
    [seat] = second.seats
    cluster.crash()
    cluster.nodes.remove(second)  # it went down with the broker
    cluster.run(5)
    cluster.up = True
    cluster.run(LEASE + ADOPT_AFTER + 8)
    assert first.seats == {0, 1}
    assert first.replicas.held[seat].adopted


def test_after_a_restart_of_the_broker_everybody_has_their_own_again() -> None:
    cluster = Cluster()
    nodes = [cluster.start() for _ in range(4)]
    cluster.run(15)
    before = [node.seats for node in nodes]
    cluster.crash()
    cluster.run(60)
    cluster.up = True
    cluster.run(3)
    assert [node.seats for node in nodes] == before
    cluster.run(60)
    assert [node.seats for node in nodes] == before
    cluster.check()


def test_one_that_was_cut_off_does_not_throw_its_heir_out() -> None:
    cluster = Cluster()
    first, second = cluster.start(), cluster.start()
    cluster.run(10)
    [seat] = second.seats
    cluster.cut(second)
    cluster.run(20)
    assert first.seats == {0, 1}
    cluster.heal(second)
    cluster.run(10)
    assert (first.seats, second.seats) == ({0, 1} - {seat}, {seat})
    assert second.taken == [seat, seat]  # given up, asked for, taken again
    cluster.check()


def test_a_statefulset_has_its_own_and_gets_it_back() -> None:
    cluster = Cluster()
    zero, one = cluster.start(0), cluster.start(1)
    cluster.run(5)
    assert (zero.seats, one.seats) == ({0}, {1})
    cluster.kill(one)
    cluster.run(20)
    assert zero.seats == {0, 1}
    one = cluster.start(1)
    cluster.run(5)
    assert (zero.seats, one.seats) == ({0}, {1})
    other = cluster.start(1)  # a mistake: it has to wait
    cluster.run(30)
    assert (one.seats, other.seats) == ({1}, set())


def test_who_loses_their_own_goes_on_with_what_they_adopted() -> None:
    cluster = Cluster(seats=2)
    first, second = cluster.start(), cluster.start()
    cluster.run(10)
    cluster.kill(second)
    cluster.run(20)
    own = next(seat for seat, held in first.replicas.held.items() if not held.adopted)
    cluster.say(own, Word("thief", State.HELD))
    first.step(cluster.now)
    assert [held.adopted for held in first.replicas.held.values()] == [False]


def test_a_late_will_is_not_about_who_has_the_seat_now() -> None:
    cluster = Cluster()
    node, witness = cluster.start(), cluster.start()
    cluster.run(10)
    [seat] = node.seats
    cluster.say(seat, Word("who was here before", State.FREE))
    node.step(cluster.now)  # it says again that it is there
    assert cluster.retained[seat] == Word(node.name, State.HELD)
    cluster.run(30)
    assert witness.seats != node.seats == {seat}
    assert node.taken == [seat]


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_every_share_finds_somebody(seed: int) -> None:
    cluster = Cluster(seats=3, seed=seed)
    chance = random.Random(seed)
    for _ in range(12):
        event = chance.choice(("start", "start", "kill", "cut", "heal", "crash", "wait"))
        node = chance.choice(cluster.nodes) if cluster.nodes else None
        if event == "start" and len(cluster.nodes) < 5:
            cluster.start()
        elif event == "kill" and node is not None:
            cluster.kill(node)
        elif event == "cut" and node is not None:
            cluster.cut(node)
        elif event == "heal" and node is not None:
            cluster.heal(node)
        elif event == "crash":
            cluster.crash()
            cluster.run(chance.random() * 30)
            cluster.up = True
        cluster.run(chance.random() * 20)
    if not cluster.nodes:
        cluster.start()
    for node in cluster.nodes:
        cluster.heal(node)
    cluster.run(LEASE + ADOPT_AFTER + PATIENCE + 20)
    cluster.check()
    taken = [len(node.taken) for node in cluster.nodes]
    cluster.run(120)
    cluster.check()
    assert [len(node.taken) for node in cluster.nodes] == taken  # nobody fights


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"{}", b"\xff", b'{"instance": 1, "state": "held"}', b'{"instance": "a", "state": "x"}', b" " * 300],
)
def test_what_is_not_ours_is_nothing(payload: bytes) -> None:
    assert decode(payload) is None


def test_words_come_back_as_they_went() -> None:
    for state in State:
        assert decode(Word("a", state).encode()) == Word("a", state)


def test_seats_that_are_not_in_the_pool_are_nobodys_business() -> None:
    replicas = Replicas("a", 2, None, 1.0, random.random)
    replicas.listening(0.0)
    replicas.heard(2, Word("b", State.HELD), 0.0)
    replicas.wanted(7, "b")
    replicas.connected(7, 0.0)
    replicas.lost(7)
    assert replicas.decide(0.0) == []


def alone(seats: int = 1) -> Replicas:
    """One that hears, and has no seat yet."""
    replicas = Replicas("me", seats, None, ADOPT_AFTER, lambda: 0.5)
    replicas.listening(0.0)
    return replicas


def test_who_waits_does_not_take_a_late_will_for_a_free_seat() -> None:
    replicas = alone()
    replicas.heard(0, Word("b", State.HELD), 0.5)
    replicas.heard(0, Word("a", State.FREE), 0.6)
    for second in range(2, 10):
        assert replicas.decide(float(second)) == []
    replicas.heard(0, Word("b", State.FREE), 10.0)
    assert replicas.decide(10.0) == []  # a moment of chance first
    assert replicas.decide(11.0) == [(Act.TAKE, 0)]


def test_silence_is_counted_from_when_it_can_be_heard() -> None:
    replicas = alone()
    replicas.heard(0, Word("b", State.HELD), 0.5)
    replicas.deaf()
    assert replicas.decide(100.0) == []
    replicas.listening(100.0)
    for tenth in range(1000, int((100 + LEASE) * 10)):
        assert replicas.decide(tenth / 10) == []
    replicas.decide(101 + LEASE)
    assert replicas.decide(102 + LEASE) == [(Act.TAKE, 0)]


def test_nobody_leaves_a_seat_of_their_own() -> None:
    replicas = alone()
    replicas.decide(1.0)
    assert replicas.decide(2.0) == [(Act.TAKE, 0)]
    replicas.wanted(0, "b")
    assert replicas.decide(3.0) == []
    replicas.held[0].adopted = True
    replicas.wanted(0, "me")
    assert (Act.LEAVE, 0) not in replicas.decide(3.0)
    replicas.held[0].adopted = True
    replicas.wanted(0, "b")
    assert (Act.LEAVE, 0) in replicas.decide(3.0)


def test_who_speaks_and_is_not_heard_finds_out() -> None:
    replicas = alone()
    replicas.decide(1.0)
    assert replicas.decide(2.0) == [(Act.TAKE, 0)]
    replicas.connected(0, 2.0)
    assert not replicas.unheard(2.0 + 2 * BEAT)
    assert replicas.unheard(2.1 + 2 * BEAT)
    replicas.heard(0, Word("me", State.HELD), 20.0)
    assert not replicas.unheard(20.0)
