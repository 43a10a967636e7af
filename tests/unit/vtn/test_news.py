"""What processes tell each other: cut to fit, and nothing left out."""

from hypothesis import given
from hypothesis import strategies as st

from vtn.news import MOST_BYTES, MOST_NOTICES, News, notices, read

VEN_ID = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=255)


@given(woken=st.lists(VEN_ID, max_size=60), changed=st.lists(VEN_ID, max_size=60))
def test_every_ven_is_named_once_and_each_notice_fits(woken, changed):
    payloads = notices("me", woken=woken, changed=changed)
    found = [read(one) for one in payloads]

    assert all(len(one.encode()) <= MOST_BYTES for one in payloads)
    assert woken == [ven_id for one in found for ven_id in one.woken]
    assert changed == [ven_id for one in found for ven_id in one.changed]
    assert {"me"} >= {one.by for one in found}


@given(
    heard=st.dictionaries(VEN_ID, st.floats(0, 4e9), max_size=60),
    reached=st.dictionaries(VEN_ID, st.booleans(), max_size=5),
)
def test_contacts_and_pushes_arrive_as_they_were_told(heard, reached):
    found = [read(one) for one in notices("me", heard=heard, reached=reached)]

    assert heard == {ven_id: at for one in found for ven_id, at in one.heard.items()}
    assert reached == {ven_id: yes for one in found for ven_id, yes in one.reached.items()}


def test_who_would_wake_too_many_wakes_everybody_but_names_who_has_changed():
    many = [f"ven-{number:06}" for number in range(60_000)]

    found = [read(one) for one in notices("me", woken=many, changed=many)]

    assert found[0].everybody
    assert not any(one.woken for one in found)
    assert len(found) > MOST_NOTICES
    assert many == [ven_id for one in found for ven_id in one.changed]


def test_nothing_to_tell_is_no_notice():
    news = News()

    assert not news
    assert notices("me", woken=news.to_wake, changed=news.to_read) == []


def test_news_name_each_ven_once_and_in_order():
    news = News()
    news.woken(["b", "a", "b"])
    news.changed("c", "c")

    assert news
    assert (news.to_wake, news.to_read) == (("b", "a"), ("c",))
