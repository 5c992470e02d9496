"""
The command line, `ctxwin fit | count | strategies`; it needs the extra `cli`.

`commands` holds the commands, `reading` turns files into conversations, and `showing` writes
results and everything a person reads.
"""

import sys
from importlib.util import find_spec

if find_spec("typer") is None or find_spec("rich") is None:  # pragma: no cover - tests have both
    sys.exit("the command line needs an extra: pip install 'ctxwin[cli]'")

from ctxwin.cli.commands import main

__all__ = ["main"]
