"""
What the rooms say to each other: frozen values without state.

Messages and the wire dicts in them, budgets, plans, receipts, what a provider reports as usage, and
every error. Nothing here knows a manager, a log or a plugin.
"""
