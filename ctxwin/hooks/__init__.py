"""
Plugins: which hooks they may implement, and how they are found, checked, chained and called.

`specs` declares the hooks, `installed` finds strategies by name, `checks` refuses plugins that
cannot work, `chain` puts them in order, and `guard` stands around every call of foreign code.
"""
