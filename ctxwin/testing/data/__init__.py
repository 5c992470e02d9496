"""
What strategies are tried on.

`cases` is a conversation with its budget and counter, and `drawing` generates the parts of it.
`fakes` are counters, summarisers and plugins, `failures` are the ways a summariser fails, `clocks`
run ahead, and `elsewhere` is another conversation served in between.
"""
