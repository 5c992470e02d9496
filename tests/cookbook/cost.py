"""What will this cost: a range while someone types, the price of a bill, and many of them."""

from ctxwin import ContextManager, Usage
from ctxwin_plugins.spend import Meter, Prices, bill

ctx = ContextManager(max_tokens=400, model="gpt-4o")
ctx.add_message("user", "Where is my parcel? " * 50)
prices = Prices()  # needs the extra `prices`; Prices({"my-model": Rates("0.5", "1.5")}) adds yours
meter = Meter(ctx, prices, on_level=lambda level, reading: print(f"{level:.0%} of the budget"))
reading = meter.read("And when will it be here?", max_output_tokens=300)
print(f"{reading.total_tokens} tokens, from {reading.price_low} to {reading.price_high} USD")
#> 50% of the budget
#> 269 tokens, from 0.0003500 to 0.0036725 USD
usage = {"prompt_tokens": 269, "completion_tokens": 41, "total_tokens": 310}  # or reply.usage
print(prices.price(Usage.of(usage), "gpt-4o"), prices.price(Usage.of(usage), "unheard-of"))
#> 0.0010825 None
print(bill([(Usage(100, 28), "gpt-4o")] * 500, prices).total)
#> 0.26500
