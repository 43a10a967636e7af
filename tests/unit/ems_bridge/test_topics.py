import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_bridge.errors import TopicRefused
from ems_bridge.topics import CARRIES, Place, Topics, ems_kind

TOPICS = Topics("town-hall", "node-1")

names = st.text(
    st.characters(exclude_categories=["C", "Z"], exclude_characters="/+#"),
    min_size=1,
    max_size=20,
)


def matches(pattern: str, topic: str) -> bool:
    """MQTT's rule for filters, written anew."""
    wanted, levels = pattern.split("/"), topic.split("/")
    if wanted[-1] == "#":
        return levels[: len(wanted) - 1] == wanted[:-1]
    return len(wanted) == len(levels) and all(
        w in {"+", level} for w, level in zip(wanted, levels, strict=True)
    )


def test_the_tree_is_as_the_contract_draws_it():
    assert [
        TOPICS.status,
        TOPICS.description,
        TOPICS.event,
        TOPICS.hb,
        TOPICS.verify,
        TOPICS.limit_cmd,
        TOPICS.limit_state,
        TOPICS.sample("main"),
        TOPICS.minute("main"),
        TOPICS.alert("meter-main"),
        TOPICS.ems_ack("bms"),
        TOPICS.ems_hb("bms"),
        TOPICS.ems_status("bms"),
        TOPICS.ems_override("bms"),
        TOPICS.ems_offer("bms"),
    ] == [
        f"df/v1/town-hall/node-1/{tail}"
        for tail in (
            "status",
            "description",
            "event",
            "hb",
            "verify",
            "limit/cmd",
            "limit/state",
            "meter/main/sample",
            "meter/main/minute",
            "alert/meter-main",
            "ems/bms/ack",
            "ems/bms/hb",
            "ems/bms/status",
            "ems/bms/override",
            "ems/bms/offer",
        )
    ]


@given(names, names, names)
def test_every_topic_is_found_again_in_the_tree(site, node, owner):
    topics = Topics(site, node)
    own = {
        topics.status: Place("status"),
        topics.description: Place("description"),
        topics.event: Place("event"),
        topics.hb: Place("node-hb"),
        topics.verify: Place("verify"),
        topics.limit_cmd: Place("limit-cmd"),
        topics.limit_state: Place("limit-state"),
        topics.sample(owner): Place("sample", owner),
        topics.minute(owner): Place("minute", owner),
        topics.alert(owner): Place("alert", owner),
        topics.ems_offer(owner): Place("offer", owner),
        topics.ems_ack(owner): Place("ack", owner),
        topics.ems_hb(owner): Place("hb", owner),
        topics.ems_status(owner): Place("ems-status", owner),
        topics.ems_override(owner): Place("override", owner),
    }

    assert {topic: topics.place(topic) for topic in own} == own
    assert {place.kind for place in own.values()} == set(CARRIES)
    assert all(matches(topics.everything, topic) for topic in own)


def test_the_node_hears_every_ems_and_nothing_of_itself():
    def heard(topic):
        return any(matches(pattern, topic) for pattern in TOPICS.from_ems)

    assert all(
        heard(topic)
        for topic in (
            TOPICS.ems_ack("a"),
            TOPICS.ems_hb("b"),
            TOPICS.ems_status("c"),
            TOPICS.ems_override("d"),
            TOPICS.ems_offer("e"),
        )
    )
    assert not any(heard(topic) for topic in (TOPICS.status, TOPICS.limit_cmd, TOPICS.hb))


@pytest.mark.parametrize(
    "topic",
    [
        "df/v1/town-hall/node-2/status",
        "df/v1/town-hall/node-1",
        "df/v1/town-hall/node-1/",
        "df/v1/town-hall/node-1/ems//ack",
        "df/v1/town-hall/node-1/ems/bms/wish",
        "df/v1/town-hall/node-1/ems/bms/ack/more",
        "df/v1/town-hall/node-1/meter//sample",
    ],
)
def test_a_topic_outside_the_tree_has_no_place(topic):
    assert TOPICS.place(topic) is None


@pytest.mark.parametrize("name", ["", "a/b", "a+", "#", "a\nb", "a\x00", "x" * 129])
def test_a_name_that_cannot_be_a_topic_level_is_refused(name):
    with pytest.raises(TopicRefused):
        Topics(name, "node-1")
    with pytest.raises(TopicRefused):
        Topics("town-hall", name)
    with pytest.raises(TopicRefused):
        TOPICS.ems_ack(name)


def test_what_the_node_writes_is_not_taken_for_an_ems():
    assert ems_kind("ack") == "ack"
    with pytest.raises(TopicRefused):
        ems_kind("limit-cmd")
