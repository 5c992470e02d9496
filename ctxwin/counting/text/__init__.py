"""Tokens of text: encodings, cuts between tokens, and the counter of bare text."""
