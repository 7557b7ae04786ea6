"""TLS as a layer: names of devices, what is refused and counted how, and certificates that rotate."""

import datetime
import logging
import ssl
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from tests.bridges.shells.carriers import Device, converse
from tests.certificates import Authority

from thinbridge.errors import SettingsError
from thinbridge.protocols.base import Identity
from thinbridge.shells import certificates
from thinbridge.shells.certificates import CHECKED, Certificates, validity
from thinbridge.shells.layers import Stack
from thinbridge.shells.tls import MAX_NAME, TLSLayer, device_name


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def stack(context: ssl.SSLContext, name_from: str = "cn") -> Stack:
    return Stack(("tls",), {"tls": lambda: TLSLayer(context, name_from)})


def client(authority: Authority, *certificate: str, alpn: tuple[str, ...] = ("mqtt",)) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.ca)
    context.set_alpn_protocols(list(alpn))
    if certificate:
        context.load_cert_chain(*certificate)
    return context


def played(context: ssl.SSLContext, device: ssl.SSLContext, name_from: str = "cn") -> tuple[Stack, Device]:
    """A handshake, and as much of `hello` as comes through."""
    here, there = stack(context, name_from), Device("tls", device)
    there.say(b"hello")
    converse(there, here)
    return here, there


@pytest.mark.parametrize(
    ("identities", "common_name", "name_from", "name"),
    [
        ((), "meter-7", "cn", "meter-7"),
        (("meter-7.example",), None, "dns", "meter-7.example"),
        (("a.example", "b.example"), None, "dns", None),
        ((), "meter-7", "dns", None),
        (("meter-7.example",), None, "cn", None),
        ((), "mètre-7", "cn", "mètre-7"),
    ],
)
def test_a_device_goes_by_the_name_in_its_certificate(
    authority: Authority, identities: tuple[str, ...], common_name: str | None, name_from: str, name: str | None
) -> None:
    certificates = Certificates(*authority.issue("server", "bridge"), authority.ca, ("mqtt",), Counter())
    device = authority.issue("device", *identities, common_name=common_name)
    here, there = played(certificates.context(0.0), client(authority, *device), name_from)
    if name is None:
        assert here.over
        assert here.fault == "certificate_unnamed"
        assert here.identity is None
    else:
        assert here.ready
        assert here.identity == Identity("x509", name)
    assert there.tls is not None
    assert there.tls.selected_alpn_protocol() == "mqtt"


@pytest.mark.parametrize(
    "certificate",
    [
        {},
        {"subject": ((("commonName", ""),),)},
        {"subject": ((("commonName", "a\0b"),),)},
        {"subject": ((("commonName", "a\nb"),),)},
        {"subject": ((("commonName", "a" * (MAX_NAME + 1)),),)},
        {"subject": ((("commonName", "a"),), (("commonName", "b"),))},
        {"subject": ((("organizationName", "a"),),), "subjectAltName": (("DNS", "a"),)},
    ],
)
def test_a_name_that_can_not_be_used_is_none(certificate: dict[str, Any]) -> None:
    assert device_name(certificate, "cn") is None


def test_a_uri_is_a_name() -> None:
    certificate = {"subjectAltName": (("DNS", "x"), ("URI", "spiffe://site/meter-7"))}
    assert device_name(certificate, "uri") == "spiffe://site/meter-7"


def test_a_device_without_a_certificate_and_one_of_another_authority_are_refused(
    authority: Authority, tmp_path: Path
) -> None:
    certificates = Certificates(*authority.issue("server", "bridge"), authority.ca, (), Counter())
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other").issue("device", common_name="meter-7")
    for device in (client(authority), client(authority, *stranger)):
        here, _ = played(certificates.context(0.0), device)
        assert here.over
        assert here.fault == "certificate_refused"


def test_a_device_that_does_not_trust_us_says_so(authority: Authority, tmp_path: Path) -> None:
    certificates = Certificates(*authority.issue("server", "bridge"), "", (), Counter())
    (tmp_path / "other").mkdir()
    here, _ = played(certificates.context(0.0), client(Authority(tmp_path / "other")))
    assert here.over
    assert here.fault == "tls_alert"


def test_old_versions_are_refused(authority: Authority) -> None:
    certificates = Certificates(*authority.issue("server", "bridge"), "", (), Counter())
    old = client(authority)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    here, _ = played(certificates.context(0.0), old)
    assert here.over
    assert here.fault == "tls_failed"


def test_bytes_that_are_no_record_end_it(authority: Authority) -> None:
    here = stack(Certificates(*authority.issue("server", "bridge"), "", (), Counter()).context(0.0))
    here.receive(b"\x16\x03\x01\xff\xff" + b"x" * 70_000)
    assert here.over
    assert here.fault == "tls_failed"


def test_large_messages_pass_in_both_directions(authority: Authority) -> None:
    here = stack(Certificates(*authority.issue("server", "bridge"), "", (), Counter()).context(0.0))
    there = Device("tls", client(authority))
    there.say(b"x" * 300_000)
    assert converse(there, here) == b"x" * 300_000
    here.send(b"y" * 300_000)
    converse(there, here)
    assert there.heard == b"y" * 300_000


# --- Certificates that rotate -----------------------------------------------------------------------------------


def serial(context: ssl.SSLContext, authority: Authority) -> str:
    _, there = played(context, client(authority))
    assert there.tls is not None
    certificate = there.tls.getpeercert()
    assert certificate is not None
    return str(certificate["serialNumber"])


def test_new_connections_get_the_new_certificate(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    files = authority.issue("server", "bridge")
    certificates = Certificates(*files, "", (), Counter())
    old, there = played(certificates.context(0.0), client(authority))
    first = serial(certificates.context(0.0), authority)
    authority.issue("server", "bridge")
    assert serial(certificates.context(CHECKED / 2), authority) == first  # it is not looked up so often
    with caplog.at_level(logging.INFO):
        assert serial(certificates.context(CHECKED), authority) != first
    assert caplog.messages == [f"certificate {files[0]} was read again"]
    there.say(b"still here")
    assert converse(there, old) == b"still here"


def test_a_certificate_that_can_not_be_used_leaves_the_old_one(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = authority.issue("server", "bridge")
    counters: Counter[str] = Counter()
    certificates = Certificates(certificate, key, "", (), counters)
    first = serial(certificates.context(0.0), authority)
    good = Path(key).read_bytes()
    Path(key).unlink()
    assert serial(certificates.context(CHECKED), authority) == first
    assert counters["certificate_unusable"] == 1
    assert caplog.messages == [
        f"the old certificate stays in use: tls_key: {key}: give a file that can be read: No such file or directory"
    ]
    assert serial(certificates.context(2 * CHECKED), authority) == first
    assert counters["certificate_unusable"] == 1  # said once
    Path(key).write_bytes(good)
    certificates.context(3 * CHECKED)
    assert counters["certificate_unusable"] == 1


def test_what_can_not_be_used_at_the_start_is_one_line(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("server", "bridge")
    _, other = authority.issue("other", "bridge")
    text = tmp_path / "text"
    text.write_text("no PEM")
    locked = tmp_path / "locked"
    locked.write_bytes(
        load_pem_private_key(Path(key).read_bytes(), None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
    )
    for arguments, line in (
        (("/nowhere", key, ""), "tls_certificate: /nowhere: give a file that can be read: No such file or directory"),
        ((str(tmp_path), key, ""), f"tls_certificate: {tmp_path}: give a file that can be read: Is a directory"),
        ((str(text), key, ""), f"tls_certificate: {text}: give the PEM file of a certificate"),
        ((certificate, str(text), ""), f"tls_key: {text}: give the PEM file of a private key"),
        ((certificate, other, ""), f"tls_key: {other}: give the private key of tls_certificate; this is another's"),
        ((certificate, "", ""), f"tls_key: {certificate}: give the PEM file of a private key"),
        ((certificate, str(locked), ""), f"tls_key: {locked}: give a key without a passphrase"),
        ((certificate, key, "/nowhere"), "tls_client_ca: /nowhere: give a file that can be read"),
        ((certificate, key, str(text)), f"tls_client_ca: {text}: give the PEM file of a certificate"),
    ):
        with pytest.raises(SettingsError) as caught:
            Certificates(*arguments, (), Counter())
        assert str(caught.value).startswith(line)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (-20, -10, "has expired on"),
        (10, 20, "is not valid before"),
        (-10, 10, ""),
    ],
)
def test_a_certificate_whose_time_is_not_now_is_a_warning(
    authority: Authority, caplog: pytest.LogCaptureFixture, before: int, after: int, message: str
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    dates = now + datetime.timedelta(days=before), now + datetime.timedelta(days=after)
    certificate, key = authority.issue("server", "bridge", dates=dates)
    Certificates(certificate, key, "", (), Counter())
    assert [line for line in caplog.messages if message in line] == (caplog.messages if message else [])
    assert bool(caplog.messages) is bool(message)
    begin, end = validity(Path(certificate).read_text())
    assert (begin.date(), end.date()) == (dates[0].date(), dates[1].date())


def test_a_certificate_that_is_replaced_while_its_dates_are_read_is_no_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificates._warn(str(tmp_path / "gone"))
    assert caplog.records == []


@pytest.mark.parametrize("text", ["", f"{ssl.PEM_HEADER}\n", f"{ssl.PEM_HEADER}\nMAA=\n{ssl.PEM_FOOTER}\n"])
def test_what_is_no_certificate_has_no_dates(text: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        validity(text)
