"""Keep the prompt cache: cut rarely but deep, so the prefix stays the same."""

from ctxwin import Budget, ContextManager


def rewritten(low: float) -> int:
    """Return in how many of 200 requests the beginning was not that of the request before."""
    ctx = ContextManager(budget=Budget(1000, low=low), model="gpt-4o")
    before, count = ctx.messages(), 0
    for number in range(200):
        ctx.add_message("user", f"Where is parcel {number}?")
        window = ctx.messages()
        count += window[: len(before)] != before
        before = window
        ctx.add_message("assistant", "It is on its way.")
    return count


print("cut to just fit:", rewritten(1.0))
#> cut to just fit: 150
print("cut to the low mark:", rewritten(0.7))
#> cut to the low mark: 10
