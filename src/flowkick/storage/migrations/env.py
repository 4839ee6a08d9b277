"""Runs the revisions on the connection that `flowkick.storage.migrate` hands over."""

from alembic import context

from flowkick.storage.migrate import compared_on

_connection = context.config.attributes["connection"]
context.configure(
    connection=_connection,
    target_metadata=context.config.attributes.get("metadata"),
    compare_type=True,
    include_object=compared_on(_connection.dialect.name),
    render_as_batch=_connection.dialect.name == "sqlite",
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
