import shutil
import ssl

import pytest

from tests.unit.ven.makers import settings
from ven.credentials import read_credentials, tls_context
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
    assert found.subject == "CN=unit-ven"


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
