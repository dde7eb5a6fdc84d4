"""How Alembic reaches the database: by the connection that `infra.migrate` hands over."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table="am_schema_version",
)
with context.begin_transaction():
    context.run_migrations()
