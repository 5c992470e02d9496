"""Count for a local model: by the chat template and the tokenizer that serve it."""

from ctxwin import ContextManager
from ctxwin.counting import TransformersCounter

# The folder of a model: tokenizer.json, tokenizer_config.json and the template. With transformers
# at hand, give TransformersCounter a tokenizer instead. Variables must be those of the server.
counter = TransformersCounter.from_folder(
    "models/qwen3-8b", template_variables={"enable_thinking": False}
)
ctx = ContextManager(max_tokens=32_000, counter=counter)
ctx.add_message("user", "Where is my parcel?")
print(ctx.total_tokens == counter.count_request(ctx.messages()), "exact:", counter.exact)
#> True exact: True
