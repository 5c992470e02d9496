"""`python -m ctxwin` is `ctxwin`."""

from ctxwin.cli.commands import main

if __name__ == "__main__":
    main()
