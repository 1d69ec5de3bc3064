from tests.admin.conftest import clerk, clerks_office, office, root

__all__ = ["clerk", "clerks_office", "office", "root"]
