"""OpenSSL, which none of our code is built on, judges the certificates."""

import asyncio
import ssl
import subprocess
from pathlib import Path

import pytest

from certs import Authority, Issued, SiteRole


def verdict(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["openssl", *map(str, words)], check=False, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("openssl") / "pki")


@pytest.fixture(scope="module")
def vtn(pki: Authority) -> tuple[Issued, Issued]:
    return pki.vtn(["127.0.0.1", "vtn.example"])


def verify(issued: Issued, *, trust: Path, purpose: str) -> bool:
    answer = verdict(
        *("verify", "-x509_strict", "-purpose", purpose, "-CAfile", trust),
        *("-untrusted", issued.certificate, issued.certificate),
    )
    return answer.returncode == 0


def test_openssl_verifies_every_chain_in_strict_mode(pki: Authority, vtn) -> None:
    for purpose in ("sslserver", "sslclient"):  # push turns client and server round
        for issued in vtn:
            assert verify(issued, trust=pki.trust, purpose=purpose)
            assert verify(issued, trust=pki.vtn_trust, purpose=purpose)
        for issued in (pki.ven(f"a-{purpose}"), pki.ven(f"b-{purpose}", rsa=True)):
            assert verify(issued, trust=pki.trust, purpose=purpose)
            assert verify(issued, trust=pki.ven_trust, purpose=purpose)
    broker = pki.site("broker", SiteRole.BROKER, hosts=["127.0.0.1"])
    assert verify(broker, trust=pki.site_trust, purpose="sslserver")
    node = pki.site("node", SiteRole.NODE)
    assert verify(node, trust=pki.site_trust, purpose="sslclient")


def test_openssl_refuses_every_part_that_is_not_its_owners(pki: Authority, vtn) -> None:
    ven = pki.ven("c")
    assert not verify(ven, trust=pki.vtn_trust, purpose="sslserver")  # it cannot play the VTN
    assert not verify(vtn[0], trust=pki.ven_trust, purpose="sslclient")
    assert not verify(ven, trust=pki.site_trust, purpose="sslclient")
    assert not verify(pki.site("d", SiteRole.EMS), trust=pki.trust, purpose="sslclient")


def test_an_intermediate_cannot_make_another_authority(pki: Authority, tmp_path: Path) -> None:
    own = pki.folder / "authority"
    key, request, certificate = (tmp_path / name for name in ("k", "r", "c"))
    extensions = tmp_path / "x"
    extensions.write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n")
    made = verdict(
        *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-subj", "/CN=evil", "-keyout", key, "-out", request),
    )
    assert made.returncode == 0, made.stderr
    signed = verdict(
        *("x509", "-req", "-in", request, "-CA", own / "ven-ca-ecc.crt"),
        *("-CAkey", own / "ven-ca-ecc.key", "-extfile", extensions, "-out", certificate),
    )
    assert signed.returncode == 0, signed.stderr
    leaf_key, leaf_request, leaf = (tmp_path / name for name in ("lk", "lr", "l"))
    verdict(
        *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-subj", "/CN=hq", "-keyout", leaf_key, "-out", leaf_request),
    )
    verdict(*("x509", "-req", "-in", leaf_request, "-CA", certificate, "-CAkey", key, "-out", leaf))
    chain = tmp_path / "chain"
    chain.write_bytes(certificate.read_bytes() + (own / "ven-ca-ecc.crt").read_bytes())

    answer = verdict("verify", "-CAfile", pki.trust, "-untrusted", chain, leaf)

    assert answer.returncode != 0
    assert "path length constraint exceeded" in answer.stderr


def test_openssl_agrees_on_the_fingerprint(pki: Authority) -> None:
    issued = pki.ven("e")
    told = verdict("x509", "-in", issued.certificate, "-noout", "-fingerprint", "-sha256").stdout
    digits = told.strip().split("=")[1]

    assert digits.endswith(issued.fingerprint)
    assert digits.replace(":", "").lower() == issued.sha256


async def test_a_ven_key_cannot_play_the_vtn_to_another_ven(pki: Authority) -> None:
    thief = pki.ven("vtn.test", hosts=["127.0.0.1"])
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(thief.certificate, thief.key)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=server_side)
    async with server:
        port = server.sockets[0].getsockname()[1]
        trusting_both = ssl.create_default_context(cafile=pki.trust)
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting_both)
        writer.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection(
                "127.0.0.1", port, ssl=ssl.create_default_context(cafile=pki.vtn_trust)
            )


@pytest.mark.parametrize("suite", ["ECDHE-ECDSA-AES128-SHA256", "AES128-SHA256"])
async def test_one_server_speaks_both_suites_of_rule_67(pki: Authority, vtn, suite: str) -> None:
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.set_ciphers("ECDHE-ECDSA-AES128-SHA256:AES128-SHA256:ECDHE+AESGCM")
    server_side.verify_mode = ssl.CERT_REQUIRED
    server_side.load_verify_locations(pki.ven_trust)
    for issued in vtn:
        server_side.load_cert_chain(issued.certificate, issued.key)
    ven = pki.ven(f"ven-{suite.lower()}", rsa=suite == "AES128-SHA256")
    client_side = ssl.create_default_context(cafile=pki.vtn_trust)
    client_side.maximum_version = ssl.TLSVersion.TLSv1_2
    client_side.set_ciphers(suite)
    client_side.load_cert_chain(ven.certificate, ven.key)

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peercert")
        writer.write(str(peer["subject"]).encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=server_side)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_side)
        assert writer.get_extra_info("cipher")[0] == suite
        assert ven.certificate.stem in (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()


def revoked(issued: Issued, *, trust: Path, crl: Path) -> bool:
    """Whether OpenSSL, which must find a good list for it to say anything else, says so."""
    answer = verdict(
        *("verify", "-x509_strict", "-crl_check", "-CAfile", trust, "-CRLfile", crl),
        issued.certificate,
    )
    assert answer.returncode == 0 or "certificate revoked" in answer.stderr, answer.stderr
    return answer.returncode != 0


def test_openssl_refuses_what_was_revoked_and_only_that(pki: Authority) -> None:
    gone, gone_rsa, kept = pki.ven("gone"), pki.ven("gone-rsa", rsa=True), pki.ven("kept")
    pki.crls()
    crl = pki.folder / "ven-ca.crl"
    assert not any(revoked(one, trust=pki.ven_trust, crl=crl) for one in (gone, gone_rsa, kept))

    for one in (gone, gone_rsa, gone):  # again does no harm
        pki.revoke(one.certificate)

    verdicts = [revoked(one, trust=pki.ven_trust, crl=crl) for one in (gone, gone_rsa, kept)]
    assert verdicts == [True, True, False]
    pki.crls()  # and a renewed list still knows
    assert revoked(gone, trust=pki.ven_trust, crl=crl)


def test_a_broker_certificate_is_revoked_on_the_sites_own_list(pki: Authority) -> None:
    node = pki.site("stolen-node", SiteRole.NODE)
    written = pki.revoke(node.certificate)

    assert written.file.name == "site-ca.crl"
    assert revoked(node, trust=pki.site_trust, crl=written.file)
