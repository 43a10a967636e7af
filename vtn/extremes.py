# SPDX-License-Identifier: Apache-2.0
"""Long series thinned out for a drawing: of each slot the least and the greatest value. Pure."""

import math
from array import array
from collections.abc import Sequence


def thinned(
    at: Sequence[float], values: Sequence[float], *, slots: int
) -> tuple["array[float]", "array[float]"]:
    """At most two values for each of `slots` equal parts of the span, in order of time.

    What stands out in the whole stands out in what is left: no peak is lost. A slot without a
    number, where there are samples, is left as one NaN: a gap stays a gap.
    """
    kept_at, kept = array("d"), array("d")
    if not at:
        return kept_at, kept
    first, width = at[0], max((at[-1] - at[0]) / slots, 1e-9)
    begin = 0
    while begin < len(at):
        slot = min(int((at[begin] - first) / width), slots - 1)
        end = begin + 1
        while end < len(at) and min(int((at[end] - first) / width), slots - 1) == slot:
            end += 1
        _keep(range(begin, end), at, values, kept_at, kept)
        begin = end
    return kept_at, kept


def _keep(
    places: range,
    at: Sequence[float],
    values: Sequence[float],
    kept_at: "array[float]",
    kept: "array[float]",
) -> None:
    numbers = [place for place in places if math.isfinite(values[place])]
    if not numbers:
        kept_at.append(at[places[0]])
        kept.append(math.nan)
        return
    lowest = min(numbers, key=values.__getitem__)
    highest = max(numbers, key=values.__getitem__)
    for place in sorted({lowest, highest}):
        kept_at.append(at[place])
        kept.append(values[place])
