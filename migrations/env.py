"""Runs migrations with limits on how long one may wait for a lock or run, so that none can block a busy server."""

from alembic import context
from sqlalchemy import create_engine, text

from frazil_server.models import Base

LIMITS = "SET lock_timeout = '5s'; SET statement_timeout = '10min'"


def run() -> None:
    engine = create_engine(context.config.attributes["url"])
    with engine.connect() as connection:
        connection.execute(text(LIMITS))
        connection.commit()
        context.configure(connection=connection, target_metadata=Base.metadata, compare_server_default=False)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
