import contextlib
import shutil
import ssl

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.ven.makers import settings
from ven.credentials import read_credentials, subject, tls_context
from ven.errors import CredentialFault


@pytest.fixture(scope="session")
def issued(authority):
    return authority.ven("unit-ven")


@pytest.fixture
def here(issued, authority):
    def make(*, cert=None, key=None, ca=None):
        return settings(
            ven={"cert": str(cert or issued.certificate), "key": str(key or issued.key)},
            vtn={"ca": str(ca or authority.trust)},
        )

    return make


def test_a_matching_pair_makes_a_context_of_tls_1_2_or_later(here):
    context = tls_context(here())

    assert ssl.TLSVersion.TLSv1_2 == context.minimum_version
    assert context.check_hostname
    assert ssl.CERT_REQUIRED is context.verify_mode
    offered = {cipher["name"] for cipher in context.get_ciphers()}
    assert {"ECDHE-ECDSA-AES128-SHA256", "AES128-SHA256"} <= offered  # rule 67


def test_the_fingerprint_is_the_authoritys(issued):
    found = read_credentials(issued.certificate)

    assert (issued.fingerprint, issued.sha256) == (found.fingerprint, found.sha256)
    assert subject(issued.certificate) == "CN=unit-ven"


def test_the_validity_is_what_cryptography_reads_too(issued, authority):
    for file in (issued.certificate, authority.folder / "vtn-rsa.crt", authority.trust):
        known = x509.load_pem_x509_certificate(file.read_bytes())
        found = read_credentials(file)
        assert found.not_before_at == known.not_valid_before_utc
        assert found.not_after_at == known.not_valid_after_utc


@pytest.mark.parametrize(
    ("not_before", "not_after"),
    [("500101000000Z", "491231235959Z"), ("20500101000000Z", "99991231235959Z")],
)
def test_years_have_two_digits_or_four(tmp_path, not_before, not_after):
    found = read_credentials(pem(tmp_path, validity(not_before, not_after)))

    assert (found.not_before_at.year, found.not_after_at.year) in {(1950, 2049), (2050, 9999)}


@given(place=st.integers(0, 4095), byte=st.integers(0, 255), length=st.integers(0, 4095))
def test_a_spoilt_certificate_is_read_or_refused_in_a_sentence(
    issued, tmp_path_factory, place, byte, length
):
    first, footer, _ = issued.certificate.read_text().partition(ssl.PEM_FOOTER)
    der = bytearray(ssl.PEM_cert_to_DER_cert(first + footer))
    der[place % len(der)] = byte
    with contextlib.suppress(CredentialFault):
        read_credentials(pem(tmp_path_factory.getbasetemp(), bytes(der[:length])))


def pem(folder, der):
    file = folder / "odd.crt"
    file.write_text(ssl.DER_cert_to_PEM_cert(der))
    return file


def validity(*texts):
    """A certificate that says when it is valid, and little else."""

    def element(tag, *content):
        inner = b"".join(content)
        return bytes((tag, len(inner))) + inner

    times = (element(0x17 if len(text) == 13 else 0x18, text.encode()) for text in texts)
    parts = element(2, b"\1"), element(48), element(48), element(48, *times)
    return element(48, element(48, *parts))


def test_a_key_of_another_certificate_is_named(here, authority):
    other = authority.ven("unit-other")
    with pytest.raises(CredentialFault, match="does not belong to the certificate"):
        tls_context(here(key=other.key))


@pytest.mark.parametrize(
    ("which", "sentence"),
    [
        ("cert", "the certificate cannot be read"),
        ("key", "the private key cannot be read"),
        ("ca", "no trusted roots can be read"),
    ],
)
def test_a_file_that_is_not_there_is_named(here, tmp_path, which, sentence):
    with pytest.raises(CredentialFault, match=sentence):
        tls_context(here(**{which: tmp_path / "nothing.pem"}))


@pytest.mark.parametrize(
    ("which", "sentence"),
    [
        ("cert", "this is no PEM certificate"),
        ("key", "this is no unencrypted PEM private key"),
        ("ca", "no trusted roots can be read"),
    ],
)
def test_a_file_of_something_else_is_named(here, tmp_path, which, sentence):
    odd = tmp_path / "odd.pem"
    odd.write_text("Nothing of the kind.\n")
    with pytest.raises(CredentialFault, match=sentence):
        tls_context(here(**{which: odd}))


def test_the_context_trusts_no_root_but_the_vtns(here, authority, tmp_path):
    only = tmp_path / "ca.crt"
    shutil.copy(authority.trust, only)

    assert len(tls_context(here(ca=only)).get_ca_certs()) == 2
