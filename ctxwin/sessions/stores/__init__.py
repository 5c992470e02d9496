"""Where sessions are kept: the contract of a store, and the stores that come with ctxwin."""
