"""Cases: histories, budgets, counters and summarisers to try a strategy with."""
