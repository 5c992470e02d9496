"""A token meter: what the draft would cost, while the user is still typing."""

from ctxwin import ContextManager

ctx = ContextManager(max_tokens=60, model="gpt-4o")
ctx.add_message("user", "My invoice is wrong.")
ctx.add_message("assistant", "Let me look at it.")

for draft in ("Thank you!", "It says 40 euros. " * 7, "It says 40 euros. " * 20):
    meter = ctx.preview(draft)  # changes nothing
    print(meter.total_tokens, meter.remaining_tokens, "prunes:", meter.prunes, "fits:", meter.fits)
#> 29 31 prunes: False fits: True
#> 69 -9 prunes: True fits: True
#> 147 -87 prunes: True fits: False
