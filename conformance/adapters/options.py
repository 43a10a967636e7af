# SPDX-License-Identifier: Apache-2.0
"""The options of an adapter: `--set KEY=VALUE`."""

import difflib
from collections.abc import Mapping

from conformance.errors import SetUpFault


class Options:
    """Known keys only; a wrong one is refused with the nearest known one."""

    def __init__(self, given: Mapping[str, str], *known: str) -> None:
        for key in given:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}."
                raise SetUpFault(f"This adapter has no option '{key}' (--set); {hint}")
        self._given = given

    def get(self, key: str) -> str:
        """The value, or "" where nothing was said."""
        return self._given.get(key, "")

    def required(self, key: str) -> str:
        """Raises SetUpFault where nothing was said."""
        if not self._given.get(key):
            raise SetUpFault(f"This adapter needs --set {key}=...")
        return self._given[key]

    def several(self, key: str) -> tuple[str, ...]:
        """A list written with commas."""
        return tuple(filter(None, (one.strip() for one in self.get(key).split(","))))
