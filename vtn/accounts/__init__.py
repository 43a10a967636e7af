# SPDX-License-Identifier: Apache-2.0
"""Who may come in at the operators' listener, and what each may do there."""

from vtn.accounts.permissions import PERMISSIONS, Act, Role, may
from vtn.accounts.records import Login, Person, Session, TotpOffer, User

__all__ = ["PERMISSIONS", "Act", "Login", "Person", "Role", "Session", "TotpOffer", "User", "may"]
