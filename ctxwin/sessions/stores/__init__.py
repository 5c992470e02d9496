"""
Where sessions are kept.

`protocol` is the contract every store keeps. `memory`, `sql` (with its `engine` and `schema`) and
`redis` are the stores that come with ctxwin; `encrypted` wraps any of them.
"""
