"""A database engine for Django: its own for PostgreSQL, whose pool throws dead connections out at once."""
