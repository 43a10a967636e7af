"""An event that should run at once is put off where preparing it took too long, and then only."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from conformance import drafts
from conformance.declaration import Transport
from conformance.errors import AdapterFault
from conformance.vtn_bench import VtnBench


class Vtn:
    """Refuses the first event it is given."""

    market_contexts = ("http://market.example/one",)

    def __init__(self):
        self.given = []

    async def publish(self, _ven_id, event):
        self.given.append(event)
        if len(self.given) == 1:
            raise AdapterFault("the VTN refused it")
        return "event-1"


@pytest.fixture
def bench():
    return VtnBench(
        setup=SimpleNamespace(adapter=Vtn(), scale=0.05),
        transport=Transport.PULL,
        ven=SimpleNamespace(memory=SimpleNamespace(ven_id="0042")),
        examiner=None,
        record=[],
    )


async def test_an_event_that_began_while_it_was_prepared_is_published_with_a_later_start(bench):
    begun = drafts.utc_now() - timedelta(seconds=1)
    event = bench.draft([drafts.simple(1, drafts.SECOND)], starts_at=begun)

    assert await bench.publish(event) == "event-1"

    first, second = bench.vtn.given
    assert first == event
    assert second.starts_at > drafts.utc_now()
    assert second.signals == event.signals
    assert bench.published == ["event-1"]


async def test_an_event_that_is_refused_before_it_began_is_not_published_again(bench):
    with pytest.raises(AdapterFault, match="refused it"):
        await bench.publish(bench.price_event())

    assert len(bench.vtn.given) == 1
    assert bench.published == []
