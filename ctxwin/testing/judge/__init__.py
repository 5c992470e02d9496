"""The judge of windows. It shares no code with what it judges."""
