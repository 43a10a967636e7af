# SPDX-License-Identifier: Apache-2.0
"""The table of what was said with VENs of late; see vtn.conversation."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, Integer, false
from sqlalchemy.orm import Mapped, mapped_column

from vtn.store.tables import Table

_Number = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up INTEGER keys only


class SaidRow(Table):
    """One exchange: what was asked, and what was answered."""

    __tablename__ = "conversation"
    __table_args__ = (
        Index("ix_conversation_ven", "ven_id", "number"),
        Index("ix_conversation_wrong", "wrong", "number"),
    )

    number: Mapped[int] = mapped_column(_Number, primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    ven_id: Mapped[str]
    """"" for a stranger."""
    certificate: Mapped[str]
    """SHA-256, hex; "" where none was shown."""
    pushed: Mapped[bool] = mapped_column(server_default=false())
    """The VTN spoke first."""
    service: Mapped[str]
    request_kind: Mapped[str]
    reply_kind: Mapped[str]
    code: Mapped[str]
    """The responseCode, or the HTTP status where it is not 200."""
    wrong: Mapped[bool]
    said: Mapped[str]
    """What is wrong, in a sentence; "" where nothing is."""
    request_bytes: Mapped[int] = mapped_column(Integer)
    """Its length; what is kept of it may be less."""
    request: Mapped[bytes]
    """zlib."""
    reply: Mapped[bytes]
    """zlib."""
