"""
The strategies that come with ctxwin, one file each.

They are entry points like anyone's and use nothing that a third party cannot use: each file is a
template for a strategy of your own.
"""
