"""
The tokens of bare text, for the two embedded encodings (o200k_base and cl100k_base).

`Texts` counts and remembers (`text`), with an encoding built from the packed vocabulary
(`encodings`, `vocabulary`). Long texts are counted in pieces, cut where that changes no count
(`cuts`).
"""
