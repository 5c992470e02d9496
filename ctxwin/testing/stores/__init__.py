"""
The contract of a session store.

`contract` has the tests that a user subclasses, and `check_store`. `checks` are the clauses that
need one handle on the store; `handles` are those that need several, in several threads.
"""
