"""The ledger: the SQL database that is the only source of truth."""
