import hashlib

from hypothesis import given
from hypothesis import strategies as st

from oadr.fingerprint import fingerprint, sha256


def test_the_fingerprint_is_the_last_ten_bytes_of_the_sha_256_of_the_certificate() -> None:
    # SHA-256 of nothing is known to everybody: e3b0c442...27ae41e4649b934ca495991b7852b855
    assert fingerprint(b"") == "93:4C:A4:95:99:1B:78:52:B8:55"
    assert sha256(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@given(st.binary(max_size=200))
def test_both_forms_agree(der: bytes) -> None:
    assert fingerprint(der).replace(":", "").lower() == sha256(der)[-20:]
    assert sha256(der) == hashlib.sha256(der).hexdigest()
