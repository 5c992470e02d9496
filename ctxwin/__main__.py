"""`python -m ctxwin` is `ctxwin`."""

from ctxwin.cli import main

if __name__ == "__main__":
    main()
