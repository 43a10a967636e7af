# SPDX-License-Identifier: Apache-2.0
"""What every handler may ask for by name: the desk, the vitals, the clock, and who acts."""

from collections.abc import Callable
from datetime import datetime

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from vtn.accounts import Person
from vtn.accounts.accounts import Accounts
from vtn.desk import Desk
from vtn.vitals import Vitals

DeskHere = NamedDependency[SkipValidation[Desk]]
VitalsHere = NamedDependency[SkipValidation[Vitals]]
NowHere = NamedDependency[SkipValidation[Callable[[], datetime]]]
By = NamedDependency[SkipValidation[str]]
Who = NamedDependency[SkipValidation[Person]]
AccountsHere = NamedDependency[SkipValidation[Accounts]]
