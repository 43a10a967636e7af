# SPDX-License-Identifier: Apache-2.0
"""What every handler may ask for by name: the desk, the clock, and who acts."""

from collections.abc import Callable
from datetime import datetime

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from vtn.desk import Desk

DeskHere = NamedDependency[SkipValidation[Desk]]
NowHere = NamedDependency[SkipValidation[Callable[[], datetime]]]
By = NamedDependency[SkipValidation[str]]
