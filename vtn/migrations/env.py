# SPDX-License-Identifier: Apache-2.0
"""How Alembic runs our migrations: on the connection that vtn.store.engine hands it."""

from alembic import context

from vtn.store.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    transactional_ddl=True,
    on_version_apply=context.config.attributes.get("reached", ()),
)
with context.begin_transaction():
    context.run_migrations()
