"""The command line: one group a file, on top of `flow`; the command is in `main`."""
