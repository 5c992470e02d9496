"""
Around the caller's own call: where a request goes, what is sent, and how it ended.

`requests` is the way from the conversation to a `Request`; `endings` the way back, `streams` for
replies that come in parts. `asking` calls the five hooks, `shaping` checks what plugins make of a
request, and `forks` keeps the windows that are sent to other models. Nothing here calls a model.
"""
