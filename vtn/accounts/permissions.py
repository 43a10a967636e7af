# SPDX-License-Identifier: Apache-2.0
"""Who may do what: the one table that every route of the operators' listener is held against."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Role(StrEnum):
    """What somebody is at the utility; a user may have several."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    INSTALLER = "installer"
    AUDITOR = "auditor"
    ADMIN = "admin"


class Act(StrEnum):
    """What a route does; each route says its own (`@get(..., act=Act.VIEW)`)."""

    OPEN = "open"
    """Nobody need be logged in: it tells nothing of anybody."""
    OWN = "own"
    """One's own account: password, second factor, sessions."""
    VIEW = "view"
    """Events, nodes, reports, measured values, health."""
    EVENTS = "events"
    """Publish, propose, modify, cancel, end early; templates."""
    APPROVE = "approve"
    """Approve or decline what somebody else has proposed."""
    STOP = "stop"
    """The emergency stop of every event."""
    NODES = "nodes"
    """Let VENs in, give them certificates and resources, have them register again."""
    REVOKE = "revoke"
    """Shut a VEN out for good."""
    GROUPS = "groups"
    """Groups and market contexts."""
    REPORTS = "reports"
    """Ask VENs for reports, and cancel them."""
    MESSAGES = "messages"
    """Read what was said with a VEN, word by word."""
    AUDIT = "audit"
    """Read the audit."""
    USERS = "users"
    """Users, their roles and sessions."""
    SCRAPE = "scrape"
    """Read the metrics."""


_EVERYBODY: Final = frozenset(Role)
_R = Role

PERMISSIONS: Final[Mapping[Act, frozenset[Role]]] = MappingProxyType(
    {
        Act.OPEN: _EVERYBODY,
        Act.OWN: _EVERYBODY,
        Act.VIEW: _EVERYBODY,
        Act.EVENTS: frozenset({_R.OPERATOR, _R.ADMIN}),
        Act.APPROVE: frozenset({_R.APPROVER, _R.ADMIN}),
        Act.STOP: frozenset({_R.OPERATOR, _R.APPROVER, _R.ADMIN}),
        Act.NODES: frozenset({_R.INSTALLER, _R.ADMIN}),
        Act.REVOKE: frozenset({_R.OPERATOR, _R.INSTALLER, _R.ADMIN}),
        Act.GROUPS: frozenset({_R.OPERATOR, _R.INSTALLER, _R.ADMIN}),
        Act.REPORTS: frozenset({_R.OPERATOR, _R.INSTALLER, _R.ADMIN}),
        Act.MESSAGES: frozenset({_R.OPERATOR, _R.INSTALLER, _R.AUDITOR, _R.ADMIN}),
        Act.AUDIT: frozenset({_R.OPERATOR, _R.APPROVER, _R.AUDITOR, _R.ADMIN}),
        Act.USERS: frozenset({_R.ADMIN}),
        Act.SCRAPE: frozenset({_R.OPERATOR, _R.AUDITOR, _R.ADMIN}),
    }
)


def may(roles: frozenset[Role], act: Act) -> bool:
    """Whether somebody of these roles may do this."""
    return bool(roles & PERMISSIONS[act])
