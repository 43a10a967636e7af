# SPDX-License-Identifier: Apache-2.0
"""What every handler may ask for by name: the desk, the clock, and who acts."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from litestar.params import Dependency

from vtn.desk import Desk

DeskHere = Annotated[Desk, Dependency(skip_validation=True)]
NowHere = Annotated[Callable[[], datetime], Dependency(skip_validation=True)]
By = Annotated[str, Dependency(skip_validation=True)]
