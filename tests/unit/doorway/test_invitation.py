"""One-time codes and the QR text, as installers type and scan them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorway.invitation import (
    SIGNS,
    Code,
    Invitation,
    InvitationFault,
    new_code,
    read_code,
    read_invitation,
)

codes = st.text(SIGNS, min_size=31, max_size=31).map(lambda signs: Code(signs[:5], signs[5:]))
ROOT = "3f" * 32


@given(codes)
def test_a_code_is_read_as_it_was_written(code):
    assert code == read_code(str(code))


@given(codes, st.integers(0, 31), st.sampled_from(SIGNS))
def test_one_wrong_sign_is_noticed_wherever_it_stands(code, place, sign):
    signs = str(code).replace("-", "")
    wrong = signs[:place] + sign + signs[place + 1 :]
    if wrong == signs:
        return
    with pytest.raises(InvitationFault, match="slip"):
        read_code(wrong)


def test_small_letters_blanks_and_look_alikes_do_no_harm():
    code = Code("01ABC", "0" * 25 + "1")

    assert code == read_code(str(code).lower().replace("-", " ").replace("0", "o"))
    assert code == read_code(str(code).replace("1", "l"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "this one has 0"),
        ("K7Q2-M9XW", "this one has 8"),
        ("U" * 32, "'U' stands in no enrolment code"),
        ("K7Q2!" + "0" * 27, "'!' stands in no"),
    ],
)
def test_what_is_no_code_is_told_why(text, words):
    with pytest.raises(InvitationFault, match=words):
        read_code(text)


def test_a_new_code_is_130_bits_of_chance_and_never_shows_its_secret_in_a_log():
    code = new_code()

    assert len(code.secret) * 5 == 26 * 5
    assert code != new_code()
    assert code.secret not in repr(code)


def test_the_qr_text_holds_all_of_it():
    invitation = Invitation(url="https://vtn.example:8446", code=new_code(), root=ROOT)

    assert invitation == read_invitation(str(invitation))
    typed = read_invitation(
        "https://vtn.example:8446/", code=str(invitation.code), root=":".join(["3F"] * 32)
    )
    assert invitation == typed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("vtn.example", "begins with https"),
        ("http://vtn.example", "begins with https"),
        ("https://vtn.example", "code is missing"),
        ("https://vtn.example#code=1", "fingerprint is missing"),
        ("https://vtn.example#code=1&root=3f9a", "64 hex digits"),
    ],
)
def test_what_is_missing_in_an_invitation_is_named(text, words):
    with pytest.raises(InvitationFault, match=words):
        read_invitation(text)
