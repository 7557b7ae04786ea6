"""https sinks, with certificates made for the test by the openssl command line."""

import asyncio
import ssl
import subprocess
from pathlib import Path

import pytest
from tests.bridges.delivery.real import LOOPS, End, ScriptedSink, deliver, run
from tests.bridges.delivery.virtual import EVENT, answer

from thinbridge.delivery import Answer, Delivery, Terms, Verdict
from thinbridge.routes import Destination

EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `ca.pem`, and `server.pem`/`server.key` for localhost, signed by it."""
    path = tmp_path_factory.mktemp("certificates")
    openssl(
        "req", "-x509", *EC, "-keyout", path / "ca.key", "-out", path / "ca.pem", "-subj", "/CN=test CA", "-days", 2
    )
    openssl("req", *EC, "-keyout", path / "server.key", "-out", path / "server.csr", "-subj", "/CN=localhost")
    (path / "names").write_text("subjectAltName=DNS:localhost\n")
    openssl("x509", "-req", "-in", path / "server.csr", "-CA", path / "ca.pem", "-CAkey", path / "ca.key", "-days", 2,
            "-set_serial", 1, "-extfile", path / "names", "-out", path / "server.pem")  # fmt: skip
    return path


def post(loop: str, certificates: Path, host: str, ca_certs: str | None) -> tuple[Answer, ScriptedSink, list[str]]:
    """One event by https; also the server names that the sink was asked for."""
    names: list[str] = []
    sink = ScriptedSink([answer(200, b"secret")], [End.CLOSE])
    answers: list[Answer] = []

    async def scene() -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
        context.set_alpn_protocols(["h2", "http/1.1"])
        context.sni_callback = lambda _, name, __: names.append(name)
        async with sink.running(context):
            delivery = Delivery(rng=lambda: 0.0)
            terms = Terms(Destination(f"https://{host}:{sink.port}/fn", ca_certs), retries=0)
            answers.append(await deliver(delivery, EVENT, terms))
            if answers[0].verdict is Verdict.ACCEPTED:  # a stale connection, too
                assert (await deliver(delivery, EVENT, terms)).verdict is Verdict.ACCEPTED
            else:
                (state,) = delivery.sinks
                assert (state.error, delivery.counters["tls"]) == ("TLS failure", 1)
            await delivery.close()

    run(loop, scene)
    return answers[0], sink, names


@pytest.mark.parametrize("loop", LOOPS)
def test_a_sink_that_our_authority_vouches_for(loop: str, certificates: Path) -> None:
    result, sink, names = post(loop, certificates, "localhost", (certificates / "ca.pem").read_text())
    assert (result.verdict, result.body) == (Verdict.ACCEPTED, b"secret")
    assert (len(sink.requests), sink.connections) == (3, 2)
    assert names == ["localhost", "localhost"]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("host", "authority"),
    [("localhost", None), ("127.0.0.1", "ca.pem"), ("localhost", "ca.key")],
    ids=["unknown authority", "wrong name", "no PEM"],
)
def test_nobody_else_hears_of_the_event(loop: str, certificates: Path, host: str, authority: str | None) -> None:
    ca_certs = (certificates / authority).read_text() if authority else None
    result, sink, _ = post(loop, certificates, host, ca_certs)
    assert result == Answer(Verdict.UNREACHED)
    assert sink.requests == []


@pytest.mark.parametrize("loop", LOOPS)
def test_a_sink_that_speaks_no_tls(loop: str) -> None:
    async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(400))
        writer.close()

    async def scene() -> None:
        server = await asyncio.start_server(plain, "127.0.0.1", 0)
        delivery = Delivery()
        terms = Terms(Destination(f"https://localhost:{server.sockets[0].getsockname()[1]}/"), retries=0)
        assert await deliver(delivery, EVENT, terms) == Answer(Verdict.UNREACHED)
        assert delivery.counters["tls"] == 1
        await delivery.close()
        server.close()

    run(loop, scene)
