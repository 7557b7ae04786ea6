"""What a delivery may take: the terms of a route, and the limits of the whole bridge."""

from dataclasses import dataclass

from thinbridge.routes import Content, Destination


@dataclass(frozen=True, slots=True)
class Terms:
    """How an event is delivered; the bridge makes one per route, and keeps it."""

    sink: Destination
    dead_letter: Destination | None = None
    """Where an event goes that the sink did not take, with `knativeerrordest`, `-code` and `-data`."""
    content: Content = Content.AUTO
    attempt_timeout: float = 60.0
    """Seconds from a request to its whole answer: a cold start takes 5–30 s."""
    retries: int | None = 3
    """Attempts after the first; None: as many as there is time for."""
    pause: float = 0.2
    """Seconds before the first retry, doubled for each one after it, times a random share of it (full jitter): devices
    that failed together don't come back together. 0.2 is what Knative's brokers have."""
    pause_max: float = 30.0
    """Seconds that a pause grows to; half of it is how late, on average, a sink's return is noticed."""


@dataclass(frozen=True, slots=True)
class DeliveryLimits:
    """What all deliveries of a bridge may take together."""

    deliveries: int = 4096
    """Events on their way, those that pause before a retry included; more are `OVERLOADED`. At 1,000 a second it holds
    a cold start of four seconds."""
    postponed: int = 65_536
    """Events over `deliveries` that wait for their turn since their device keeps them anyway (MQTT QoS 1); more are
    `OVERLOADED`. The windows of a thousand devices."""
    held_bytes: int = 128 << 20
    """Bytes of all these events together, about; what comes when there are so many is `OVERLOADED`. An event may be
    there twice, as itself and as its request: with 256 MiB a pod of 1 GiB has room for its sessions."""
    waiting: int = 2048
    """Events that wait for a connection to one sink; more are `OVERLOADED`, so that a sink that hangs leaves the other
    half of `deliveries` to the others."""
    connections: int = 256
    """Connections to one sink: two pods' worth of Knative's default concurrency (100), and a quarter of the usual limit
    of 1,024 file descriptors, which listeners share. Each carries one request at a time."""
    idle: float = 30.0
    """Seconds after which an unused connection is closed, at the latest. Shorter than the minutes of queue-proxy and
    Envoy; servers with less patience (gunicorn: 2 s) are covered by the retry of a stale connection."""
    connect: float = 5.0
    """Seconds for name, TCP and TLS together: two lost SYNs (1 s + 2 s) still get through."""
    read: float = 15.0
    """Seconds between the first byte of an answer and its last: a function is slow before it answers, not after."""
    head: int = 32 * 1024
    """Bytes of an answer's headers; servers' own limits are 8–64 kB."""
    headers: int = 100
    """Number of an answer's headers, as gunicorn limits a request's."""
    body: int = 8 << 20
    """Bytes of an answer's body: a firmware image of 5 MiB, also where an event has it as base64."""
    held_answers: int = 64 << 20
    """Bytes of long answers (over 64 KiB) that are read at a time; the others wait, their connections unread. The last
    step of each takes as much again, for one at a time."""
    cache_entries: int = 1024
    """Responses of CoAP servers that are kept while they are fresh: the resources of some hundred devices."""
    cache_bytes: int = 16 << 20
    """Bytes of them together: 1,024 of the 16 kB that few CoAP resources have."""
    retry_after: float = 2.0
    """Seconds that an `OVERLOADED` answer asks for: what a full queue takes at 2,000 events a second."""
