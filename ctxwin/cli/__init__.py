"""The command line: `ctxwin fit | count | strategies`; it needs the extra `cli`."""

from ctxwin.cli.commands import main

__all__ = ["main"]
