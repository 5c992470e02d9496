"""What it will cost: the price of a request before it is sent, and of what was billed."""

from ctxwin import ContextManager, Usage
from ctxwin_plugins.spend import Prices, bill

prices = Prices()  # needs the extra `prices`; Prices({"my-model": Rates("0.5", "1.5")}) adds yours
ctx = ContextManager(max_tokens=4000, model="gpt-4o")
ctx.add_message("user", "Where is my parcel? " * 50)
print("at most", prices.ceiling(ctx.total_tokens, 300, "gpt-4o"))
#> at most 0.003645
usage = {"prompt_tokens": 207, "completion_tokens": 41, "total_tokens": 248}  # or reply.usage
print(prices.price(Usage.of(usage), "gpt-4o"), prices.price(Usage.of(usage), "unheard-of"))
#> 0.0009275 None
print(bill([(Usage(100, 28), "gpt-4o")] * 500, prices).total)
#> 0.26500
