"""Django's PostgreSQL backend, but for how a connection that died in the pool is found.

With ``CONN_HEALTH_CHECKS`` the pool itself tries a connection before it hands it out, and after each dead one waits twice as
long before it tries the next (0, 1, 2, 4 … seconds). After a restart of the database all of them are dead, and seven are
enough to outlast the pool's time-out: the service stays down after the database is back. Here the dead ones are thrown
out one after another without a pause; the pool makes new ones meanwhile.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.postgresql import base
from psycopg import Connection, Error
from psycopg_pool import ConnectionPool


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection[Any]:
        """A live connection: from the pool, or a new one for work outside it (creating a test database).

        Raises ``psycopg.OperationalError`` when the database can't be reached within the pool's time-out.
        """
        connection: Connection[Any] = super().get_new_connection(conn_params)
        if not (pool := self.pool):
            return connection
        for _ in range(pool.max_size):
            try:
                ConnectionPool.check_connection(connection)
            except Error:
                pool.putconn(connection)  # sees that it is broken, and replaces it
                connection = pool.getconn()
            else:
                return connection
        return connection  # the last is newer than the first check
