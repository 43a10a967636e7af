import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtn.errors import Rejected
from vtn.push import SERVICE_OF, pause_s
from vtn.services.registration import push_address


@given(failures=st.integers(1, 10_000), longest=st.integers(1, 3600), draw=st.floats(0, 1))
def test_the_pause_doubles_up_to_its_longest_give_or_take_a_tenth(failures, longest, draw):
    """§9.1.7: truncated binary exponential back-off."""
    pause = pause_s(failures, longest_s=longest, draw=lambda: draw)
    nominal = min(2.0 ** min(failures - 1, 30), longest)

    assert nominal * 0.9 - 1e-9 <= pause <= nominal * 1.1 + 1e-9


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://ven.example", "https://ven.example"),
        (" https://ven.example/ ", "https://ven.example"),
        ("HTTPS://VEN.example:8443/a/", "https://ven.example:8443/a"),
        ("https://ven.example/OpenADR2/Simple/2.0b", "https://ven.example"),
        ("https://ven.example/site/OpenADR2/Simple/2.0b/", "https://ven.example/site"),
        ("https://[2001:db8::7]:8443/", "https://[2001:db8::7]:8443"),
    ],
)
def test_an_address_is_kept_without_what_varies(given, kept):
    """Rule 511."""
    assert push_address(given) == kept
    assert push_address(kept + "/") == kept


@given(st.text(max_size=40) | st.text(max_size=20).map("https://{}".format))
def test_an_address_is_https_with_a_host_or_refused(text):
    try:
        address = push_address(text)
    except Rejected:
        return
    assert address.startswith("https://")
    assert push_address(address) == address


@pytest.mark.parametrize(
    "text",
    ["", "http://a", "https://", "https://a?b", "https://a#b", "https://u:p@a", "https://a:x"],
)
def test_what_cannot_be_pushed_to_is_refused(text):
    with pytest.raises(Rejected, match="oadrTransportAddress"):
        push_address(text)


def test_a_vtn_pushes_no_polls():
    """Rule 51."""
    assert "OadrPoll" not in SERVICE_OF.values()
