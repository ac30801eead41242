"""What the inner house asks of the outside: one Protocol a file; the docstring is the contract."""
