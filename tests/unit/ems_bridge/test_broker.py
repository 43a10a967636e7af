from pathlib import Path

import pytest
import trustme

from ems_bridge.broker import BrokerSettings, broker_at, password, tls_context
from ems_bridge.errors import BrokerUnusable


@pytest.mark.parametrize(
    ("url", "host", "port", "secured"),
    [
        ("mqtt://broker.local", "broker.local", 1883, False),
        ("mqtt://127.0.0.1:2000", "127.0.0.1", 2000, False),
        ("mqtts://broker.local", "broker.local", 8883, True),
        ("mqtt://[::1]:1884", "::1", 1884, False),
    ],
)
def test_an_address_is_read(url, host, port, secured):
    broker = broker_at(url)

    assert (broker.host, broker.port, broker.secured) == (host, port, secured)
    assert broker_at(broker.address) == broker


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("broker.local:1883", "is not understood"),
        ("http://broker.local", "is not understood"),
        ("mqtt://", "is not understood"),
        ("mqtt://broker.local:99999", "cannot be read"),
        ("mqtt://me:secret@broker.local", "put it in a file"),
    ],
)
def test_an_address_that_cannot_work_is_refused(url, sentence):
    with pytest.raises(BrokerUnusable, match=sentence):
        broker_at(url)


def test_certificates_without_tls_are_refused():
    with pytest.raises(BrokerUnusable, match="write mqtts://"):
        broker_at("mqtt://broker.local", ca=Path("ca.pem"))


def test_plain_means_no_tls():
    assert tls_context(BrokerSettings(host="b")) is None


def test_a_certificate_needs_its_key(tmp_path):
    with pytest.raises(BrokerUnusable, match="'key' is not set"):
        tls_context(BrokerSettings(host="b", cert=tmp_path / "c.pem"))
    with pytest.raises(BrokerUnusable, match="'cert' is not set"):
        tls_context(BrokerSettings(host="b", tls=True, key=tmp_path / "c.key"))


def test_a_missing_or_foreign_file_is_named(tmp_path):
    authority = trustme.CA()
    one, other = (authority.issue_cert(name) for name in ("one.example", "other.example"))
    ca, cert, key = (tmp_path / name for name in ("ca.pem", "one.pem", "other.key"))

    with pytest.raises(BrokerUnusable, match=r"ca\.pem"):
        tls_context(BrokerSettings(host="b", ca=ca))

    authority.cert_pem.write_to_path(ca)
    one.cert_chain_pems[0].write_to_path(cert)
    other.private_key_pem.write_to_path(key)
    with pytest.raises(BrokerUnusable, match="belong together"):
        tls_context(BrokerSettings(host="b", ca=ca, cert=cert, key=key))

    one.private_key_pem.write_to_path(key)
    context = tls_context(BrokerSettings(host="b", ca=ca, cert=cert, key=key))
    assert context is not None
    assert context.check_hostname


def test_the_password_is_the_file_without_its_line_break(tmp_path):
    file = tmp_path / "password"
    file.write_text("  secret \n")

    assert password(BrokerSettings(host="b", username="u", password_file=file)) == "  secret "
    assert password(BrokerSettings(host="b")) is None
    with pytest.raises(BrokerUnusable, match="cannot be read"):
        password(BrokerSettings(host="b", password_file=tmp_path / "none"))
