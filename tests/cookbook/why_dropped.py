"""Why it was dropped: `plan` tells what a cut would do, the receipt what it did."""

from ctxwin import ContextManager

ctx = ContextManager(max_tokens=45, model="gpt-4o")
for number in range(2):
    ctx.add_message("user", f"Where is parcel {number}?")
    ctx.add_message("assistant", "It is on its way.")
ctx.add_message("user", "And my invoice?")
dry_run = ctx.plan()  # changes nothing
print(dry_run.before_tokens, "->", dry_run.after_tokens, "of", ctx.max_tokens, "tokens")
#> 51 -> 31 of 45 tokens
receipt = ctx.prune_history()  # after messages() it is ctx.last_receipt
for action in receipt.actions:
    print(action.kind, action.message_ids, action.strategy, action.reason, action.freed_tokens)
#> drop (1,) drop-oldest oldest first 10
#> drop (2,) drop-oldest oldest first 10
