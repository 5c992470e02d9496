"""
The command line, `ctxwin fit | count | strategies`; it needs the extra `cli`.

`commands` holds the commands, `reading` turns files into conversations, and `showing` writes
results and everything a person reads. A plugin adds a command of its own as an entry point of the
group `ctxwin.commands`: a name, and a function or an app of typer. The names below are for it, so
that its command reads and writes as the others do.
"""

import sys
from importlib.util import find_spec

if find_spec("typer") is None or find_spec("rich") is None:  # pragma: no cover - tests have both
    sys.exit("the command line needs an extra: pip install 'ctxwin[cli]'")

from ctxwin.cli.commands import Source, counted, main
from ctxwin.cli.showing import complain, print_table, write_json

__all__ = ["Source", "complain", "counted", "main", "print_table", "write_json"]
