# SPDX-License-Identifier: Apache-2.0
"""What an adapter does: it prepares the device under test where a test cannot do so by messages.

To test another product write a class with these methods and name it: `--adapter module:Class`.
adapters/openleadr_vtn.py and adapters/openleadr_ven.py are the examples to copy. `abilities` says
what can be prepared; a test that needs more is not run, and the PICS says why.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from conformance.declaration import Ability, Transport
from oadr.event import Event
from oadr.report import ReportRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One step of an event as the site was told to hold it."""

    starts_at: datetime
    ends_at: datetime | None
    """None: until further notice."""
    value: float
    """That of the signal."""
    part: str = "active"
    """"ramp_up" or "recovery" before and after it."""


class VtnAdapter(Protocol):
    """Prepares a VTN. Every method raises AdapterFault where the VTN refuses."""

    product: str
    """Name and version, for the reports."""
    abilities: Collection[Ability]
    market_contexts: tuple[str, ...]
    """Two market contexts that the VTN knows, where it has them."""
    resources: tuple[str, ...]
    """Two resources of the VEN, where the VTN knows them."""

    async def open(self) -> None:
        """Before the first test; may start the VTN."""

    async def close(self) -> None:
        """After the last test."""

    async def publish(self, ven_id: str, event: Event) -> str:
        """Publish the draft for the VEN -> eventID. Status and numbers of the draft are the VTN's.

        A VTN that refuses the draft raises AdapterFault; some tests want just that.
        """
        ...

    async def modify(self, event_id: str, event: Event) -> None:
        """The event becomes the draft, as its next modification."""

    async def cancel(self, event_id: str) -> None: ...

    async def withdraw(self, ven_id: str, event_ids: Sequence[str]) -> None:
        """The test is over: let its events go away. Cancelling those that live is enough."""

    async def answer(self, ven_id: str, event_id: str) -> str:
        """The opt that the VTN has recorded: "optIn", "optOut", or "" for none yet."""
        ...

    async def request_report(self, ven_id: str, request: ReportRequest) -> str:
        """Ask for the report -> reportRequestID. That of the draft is empty."""
        ...

    async def cancel_report(
        self, ven_id: str, report_request_id: str, *, to_follow: bool
    ) -> None: ...

    async def request_reregistration(self, ven_id: str) -> None: ...

    async def cancel_registration(self, ven_id: str) -> None: ...

    async def restart(self) -> None:
        """Stop it at once, start it again, come back when it listens."""


class VenAdapter(Protocol):
    """Starts, stops and prepares a VEN. Every method raises AdapterFault where it cannot."""

    product: str
    abilities: Collection[Ability]
    market_contexts: tuple[str, ...]
    """Those the VEN takes part in; the first is used."""
    resources: tuple[str, ...]
    """What the VEN calls its resources; empty where it has none."""

    async def open(self, url: str, transport: Transport) -> None:
        """Before the first test by pull, and again by push: the harness listens at `url`.

        May start the VEN, which from now on speaks by that transport, until `close`.
        """

    async def close(self) -> None: ...

    async def restart(self, *, forget: bool) -> None:
        """Stop and start it; with `forget` all it knew is gone."""

    async def register(self) -> None:
        """A person has the VEN register again."""

    async def cancel_registration(self) -> None:
        """A person has the VEN cancel its registration and stay out."""

    async def opt(self, event_id: str, *, opt_in: bool, resource: str = "") -> None:
        """A person changes the site's mind about an event, or about one resource of it."""

    async def opt_schedule(
        self,
        opt_id: str,
        starts_at: datetime,
        ends_at: datetime | None,
        *,
        opt_in: bool,
        device_class: str = "",
    ) -> None:
        """A person says when the site is (not) available, or just its devices of one class.

        With `ends_at` None it is until further notice.
        `opt_id` is what the VEN calls it on the wire; several schedules may share one.
        """

    async def cancel_opt_schedule(self, opt_id: str) -> None:
        """The person takes back the schedules of that name."""

    async def told(self, event_id: str) -> Sequence[Told]:
        """What the site behind the VEN is to hold for the event, oldest first, empty if nothing."""
        ...
