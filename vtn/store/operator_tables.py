# SPDX-License-Identifier: Apache-2.0
"""The tables of the operators: who they are, and what they have prepared.

users ─┬─ sessions            event_proposals (wait for a second person)
       └─ recovery_codes      event_templates
login_tries (of late)         idempotency_keys (of the last 24 hours)
"""

from datetime import datetime

from sqlalchemy import ForeignKey, false, text
from sqlalchemy.orm import Mapped, mapped_column

from vtn.store.tables import Table


class UserRow(Table):
    __tablename__ = "users"

    name: Mapped[str] = mapped_column(primary_key=True)
    roles: Mapped[str]
    """JSON list."""
    version: Mapped[int] = mapped_column(server_default=text("0"))
    added_at: Mapped[datetime]
    added_by: Mapped[str]
    password_hash: Mapped[str | None]
    must_change: Mapped[bool] = mapped_column(server_default=false())
    totp_secret: Mapped[str | None]
    totp_step: Mapped[int] = mapped_column(server_default=text("0"))
    oidc_subject: Mapped[str | None] = mapped_column(unique=True)
    disabled_at: Mapped[datetime | None]
    last_login_at: Mapped[datetime | None]


class SessionRow(Table):
    __tablename__ = "sessions"

    session_id: Mapped[str] = mapped_column(primary_key=True)
    """SHA-256 of the token, hex."""
    user: Mapped[str] = mapped_column(ForeignKey("users.name"), index=True)
    began_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    ends_at: Mapped[datetime] = mapped_column(index=True)
    client: Mapped[str]


class RecoveryCodeRow(Table):
    __tablename__ = "recovery_codes"

    user: Mapped[str] = mapped_column(ForeignKey("users.name"), primary_key=True)
    code_sha256: Mapped[str] = mapped_column(primary_key=True)


class LoginTriesRow(Table):
    __tablename__ = "login_tries"

    key_sha256: Mapped[str] = mapped_column(primary_key=True)
    """Of a client's address or a name."""
    since: Mapped[datetime]
    ends_at: Mapped[datetime] = mapped_column(index=True)
    tries: Mapped[int]


class ProposalRow(Table):
    __tablename__ = "event_proposals"

    proposal_id: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[str] = mapped_column(index=True)
    expected_modification: Mapped[int | None]
    """Of the event it changes; NULL for a new one."""
    document: Mapped[str]
    """The oadr.event.Event as JSON."""
    state: Mapped[str] = mapped_column(index=True)
    proposed_at: Mapped[datetime]
    proposed_by: Mapped[str]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str] = mapped_column(server_default="")
    remark: Mapped[str] = mapped_column(server_default="")


class TemplateRow(Table):
    __tablename__ = "event_templates"

    name: Mapped[str] = mapped_column(primary_key=True)
    document: Mapped[str]
    """The vtn.orders.EventOrder as JSON."""
    version: Mapped[int]
    changed_at: Mapped[datetime]
    changed_by: Mapped[str]


class IdempotencyRow(Table):
    __tablename__ = "idempotency_keys"

    actor: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    body_sha256: Mapped[str]
    answer: Mapped[str]
    """`event:ID` or `proposal:ID`."""
    at: Mapped[datetime] = mapped_column(index=True)


ALL = Table.metadata
"""Every table of the VTN: these, and those of vtn.store.tables."""
