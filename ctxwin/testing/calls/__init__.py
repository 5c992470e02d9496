"""The contract of plugins around the call: scripts of requests, and the laws that they keep."""
