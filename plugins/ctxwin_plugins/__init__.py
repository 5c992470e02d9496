"""
The strategies that come with ctxwin, one file each.

They are found by entry points and use only public names of ctxwin, as anyone's strategies do. So
each file is a template for a strategy of your own.
"""
