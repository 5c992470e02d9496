"""
Strategies, and the manager, on trial.

`contract` has what users call. `search` looks for a case that breaks a law; `trials` plays a case
with a `subjects` strategy behind a `spy`, `checks_window` and `checks_manager` look at what
happened, and `reports` shows it. `machine` tries sequences of calls, `hostile` misbehaves.
"""
