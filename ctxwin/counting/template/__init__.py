"""
Requests rendered by a model's own chat template and counted by its tokenizer.

`templates` holds the counter, `rendering` a light tokenizer with a template. A template is a
program, so what it does is found out by rendering neutral messages (`neutral`): which form of a
message it needs (`preparing`), what a message adds (`probing`), whether sums bound (`additivity`).
"""
