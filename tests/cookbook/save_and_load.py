"""Save and load: the state is JSON, and nothing is counted again after loading."""

import json

from ctxwin import Budget, ContextManager

budget = Budget(128_000, reserve_output=4000)  # options are not part of the state: give them again
ctx = ContextManager(budget=budget, model="gpt-4o")
ctx.add_message("user", "My invoice is wrong.")

saved = json.dumps(ctx.to_dict())
restored = ContextManager.from_dict(json.loads(saved), budget=budget, model="gpt-4o")
print(restored, restored.messages() == ctx.messages())
#> <ContextManager 12/124000 tokens, 1 messages, drop-oldest> True
