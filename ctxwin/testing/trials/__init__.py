"""Trials: a case played with a strategy, the checks of each law, and the reports."""
