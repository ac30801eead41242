"""What a command tells the shell."""

from typing import Final

DONE: Final = 0
ERROR: Final = 1
USAGE: Final = 2
JOB_FAILED: Final = 3
PARTIAL: Final = 4
INTERRUPTED: Final = 130
