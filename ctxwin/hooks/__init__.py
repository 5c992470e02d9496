"""Plugins: what they may implement, how they are found, checked and called."""
