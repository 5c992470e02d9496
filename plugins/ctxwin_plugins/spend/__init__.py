"""
What requests cost in money: prices by model, and what is built on them.

The core counts tokens and knows no money; all that does stands here. Money is `Decimal`, never a
float. *Price* is what one request costs, *rate* what a million tokens cost.
"""

from ctxwin_plugins.spend.meter import Meter, Reading
from ctxwin_plugins.spend.prices import Bill, Prices, Rates, bill

__all__ = ["Bill", "Meter", "Prices", "Rates", "Reading", "bill"]
