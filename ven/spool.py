# SPDX-License-Identifier: Apache-2.0
"""Which readings the VTN has acknowledged: by row id of the light node's ring, nothing skipped.

    ids   1 ....... 40 ....... 90 ....... 140 ....... 180
          acknowledged|        |acknowledged|
                      |--span--|            |-- live --->
                      after 40, until 90    after 140

`after` is where the live readings go on. A span is a stretch that was left behind when an outage
ended, so that live readings need not wait for it; spans are drained oldest first.
"""

from dataclasses import replace

from doorway.values import value

Span = tuple[int, int]
"""(after, until): the ids after < id <= until are owed."""


@value
class Spool:
    """What one report owes."""

    after: int
    spans: tuple[Span, ...] = ()

    def leave_behind(self, first_live_id: int) -> "Spool":
        """Go on live from `first_live_id`; what lies between is owed as a span."""
        until = first_live_id - 1
        if until <= self.after:
            return self
        return Spool(after=until, spans=(*self.spans, (self.after, until)))

    def acknowledge(self, last_id: int) -> "Spool":
        """The live readings up to `last_id` have arrived."""
        return replace(self, after=max(self.after, last_id))

    def drain(self, last_id: int) -> "Spool":
        """The oldest span has arrived up to `last_id`; past its end it is gone."""
        if not self.spans:
            return self
        (after, until), *others = self.spans
        rest = () if last_id >= until else ((max(after, last_id), until),)
        return replace(self, spans=(*rest, *others))

    @property
    def delivered(self) -> int:
        """Nothing is owed up to this id."""
        return self.spans[0][0] if self.spans else self.after

    def owes(self, row_id: int) -> bool:
        """Whether the VTN has not acknowledged the row."""
        return row_id > self.after or any(after < row_id <= until for after, until in self.spans)
