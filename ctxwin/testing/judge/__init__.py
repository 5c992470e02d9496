"""
The judge of windows, which shares no code with what it judges.

`windows` checks a window against the laws L1 to L5 and L17, whoever made it. `grouping` finds the
units of a history, and which of them must be kept.
"""
