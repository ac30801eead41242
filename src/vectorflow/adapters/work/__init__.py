"""The port `work` beside the ledger's own."""
