"""The contract of a store of sessions, and its checks."""
