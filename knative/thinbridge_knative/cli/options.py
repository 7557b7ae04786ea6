"""Flags that several commands have, in kn's words."""

from typing import Final

import click

from thinbridge_knative.cli.grammar import Flag
from thinbridge_knative.destinations import USAGE
from thinbridge_knative.resource import SECRETS_DIR

WAIT_TIMEOUT: Final = 600
WAIT_WINDOW: Final = 2


def namespace() -> Flag:
    """`-n`."""
    return Flag("-n", "--namespace", help="Specify the namespace to operate in.")


def target() -> Flag:
    """`--target`."""
    return Flag("--target", help="Work on local directory instead of a remote cluster (experimental)")


def waiting(action: str, until: str = "ready", default: bool = True) -> list[Flag]:
    """`--wait`, `--no-wait`, `--wait-timeout`, `--wait-window`."""
    both = Flag(
        "--wait/--no-wait",
        default=default,
        help=f"Wait for 'bridge {action}' operation to be completed.",
        negative=f"Do not wait for 'bridge {action}' operation to be completed.",
    )
    return [both, *patience(until)]


def patience(until: str = "ready") -> list[Flag]:
    """How long to wait."""
    return [
        Flag(
            "--wait-timeout",
            type=click.INT,
            default=WAIT_TIMEOUT,
            help=f"Seconds to wait before giving up on waiting for bridge to be {until}.",
        ),
        Flag(
            "--wait-window",
            type=click.INT,
            default=WAIT_WINDOW,
            help=f"Seconds to wait for bridge to be {until} after a false ready condition is returned",
        ),
    ]


def printing() -> list[Flag]:
    """`-o` and what belongs to it."""
    return [
        Flag(
            "-o",
            "--output",
            help="Output format. One of: (json, yaml, name, jsonpath, jsonpath-as-json, jsonpath-file).",
        ),
        Flag(
            "--show-managed-fields",
            is_flag=True,
            help="If true, keep the managedFields when printing objects in JSON or YAML format.",
        ),
    ]


def listing() -> list[Flag]:
    """Of commands that print a table."""
    return [
        *printing(),
        Flag(
            "--no-headers",
            is_flag=True,
            help="When using the default output format, don't print headers (default: print headers).",
        ),
    ]


def bridge() -> list[Flag]:
    """What a bridge is, for `create`, `apply` and `update`."""
    return [
        Flag(
            "--listen",
            multiple=True,
            help="Where devices come in, such as coap:5683, mqtt:1883 or udp:9000?name=meters; options of the protocol "
            "may stand in its query. You can use this flag multiple times. An update adds a listener, or replaces the "
            'one of that name; to remove it, append "-" to the name (e.g. --listen coap-).',
        ),
        Flag("-s", "--sink", help=USAGE.format("sink")),
        Flag(
            "--ce-override",
            multiple=True,
            help="Cloud Event overrides to apply before sending event to sink. Example: '--ce-override key=value' You "
            'may be provide this flag multiple times. To unset, append "-" to the key (e.g. --ce-override key-).',
        ),
        Flag(
            "--dead-letter",
            help="Where an event goes that its sink did not take; as --sink. An empty one takes it away.",
        ),
        Flag(
            "--expose",
            help="How devices reach it: ClusterIP, NodePort, LoadBalancer (keeps the device's address) or HostNetwork "
            "(UDP answers that come late still arrive).",
        ),
        Flag("--image", help="Image to run, instead of the controller's own."),
        Flag(
            "--limit",
            multiple=True,
            help="The resource requirement limits for this Bridge. For example, 'cpu=100m,memory=256Mi'. You can use "
            'this flag multiple times. To unset a resource limit, append "-" to the resource name, e.g. \'--limit '
            "memory-'.",
        ),
        Flag(
            "--mode",
            help="What a device's answer waits for: request (the function's answer), event (the sink's acceptance) or "
            "later (the answer now or by `replyto`).",
        ),
        Flag("--replicas", type=click.INT, help="How many pods."),
        Flag(
            "--request",
            multiple=True,
            help="The resource requirement requests for this Bridge. For example, 'cpu=100m,memory=256Mi'. You can use "
            'this flag multiple times. To unset a resource request, append "-" to the resource name, e.g. \'--request '
            "cpu-'.",
        ),
        Flag(
            "--route",
            multiple=True,
            help="Events that go elsewhere or on other terms, as key=value pairs: name, then endpoint, type or subject "
            "(globs), then sink, dead_letter, mode, content, timeout or retry_for. Example: '--route "
            "name=alarms,subject=alarm/*,sink=broker:urgent'. The first that matches wins. You can use this flag "
            'multiple times. To unset, append "-" to the name (e.g. --route alarms-).',
        ),
        Flag(
            "--secret",
            multiple=True,
            help=f"A Secret whose keys the pods have as files in {SECRETS_DIR}/NAME/, such as a certificate that a "
            'listener names. You can use this flag multiple times. To unset, append "-" to it.',
        ),
        Flag(
            "--trusted-network",
            multiple=True,
            help="Networks whose source addresses can't be forged, such as 10.0.0.0/8; answers to them may be longer "
            'than what they sent. You can use this flag multiple times. To unset, append "-" to it.',
        ),
    ]


def filename() -> Flag:
    """`-f`."""
    return Flag(
        "-f",
        "--filename",
        help="Create a bridge from file: a Bridge manifest, or the bridge.yaml of 'thinbridge run'. The created bridge "
        "can be further modified by combining with other options.",
    )
