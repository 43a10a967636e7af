"""What the harness signs is good, and each of its forgeries is found out by a careful reader."""

from datetime import timedelta

import pytest

from certs.authority import Authority
from conformance import drafts
from conformance.errors import SetUpFault
from conformance.forgeries import FORGERIES, forge
from conformance.seal import Seal
from conformance.wire import Keys
from oadr import EiResponse, build, parse
from oadr.payload import tree
from oadr.poll import Poll, Response

GOOD = build(Response(response=EiResponse(), ven_id="0042"))
EVIL = build(Poll(ven_id="evil"))


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    authority = Authority.create(tmp_path_factory.mktemp("seal") / "pki")
    issued = authority.ven("ven")
    return Keys(cert=issued.certificate, key=issued.key, ca=authority.trust)


@pytest.fixture
def seal(keys):
    return Seal(keys, [keys.cert])


def test_what_is_closed_opens_once(seal):
    closed = seal.close(GOOD)

    assert parse(closed) == parse(GOOD)
    assert seal.open(tree(closed)) == ""
    assert "received before" in seal.open(tree(closed))


def test_what_is_not_signed_is_named(seal):
    assert "not signed" in seal.open(tree(GOOD))


@pytest.mark.parametrize("hours", [-2, 2])
def test_what_is_signed_at_another_time_does_not_open(seal, hours):
    closed = seal.close(GOOD, at=drafts.utc_now() + timedelta(hours=hours))

    assert "set the clocks" in seal.open(tree(closed))


@pytest.mark.parametrize("how", FORGERIES, ids=lambda how: how.__name__)
def test_a_forgery_differs_and_does_not_open(seal, how):
    closed = seal.close(GOOD)

    forged = forge(how, closed, EVIL)

    assert forged != closed
    assert seal.open(tree(forged))


@pytest.mark.parametrize("body", [b"", b"no xml", b"<?xml version='1.0'?><a/>"])
def test_what_is_no_payload_goes_out_as_it_is(seal, body):
    assert seal.close(body) == body


def test_what_is_signed_is_not_signed_twice(seal):
    closed = seal.close(GOOD)

    assert seal.close(closed) == closed


def test_a_missing_certificate_is_refused_by_name(keys, tmp_path):
    with pytest.raises(SetUpFault, match=r"none\.crt cannot be read"):
        Seal(keys, [tmp_path / "none.crt"])


def test_a_key_that_is_no_key_is_refused(keys):
    with pytest.raises(SetUpFault, match="--sign"):
        Seal(Keys(cert=keys.cert, key=keys.cert, ca=keys.ca), [keys.cert])
