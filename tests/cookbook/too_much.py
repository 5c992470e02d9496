"""What must stay does not fit: `BudgetError` names the culprits, and nothing is lost."""

from ctxwin import BudgetError, ContextManager, Message

ctx = ContextManager(max_tokens=50, model="gpt-4o")
ctx.add_message("user", "Hello!")
ctx.add_message("assistant", "How can I help?")
ctx.add_message("user", "please " * 100)
try:
    ctx.messages()
except BudgetError as error:
    print(error.required_tokens, "tokens needed,", error.budget_tokens, "allowed")
    for culprit in error.culprits:
        if isinstance(culprit, Message):  # else it is "tools", the tool schemas
            print("too long: message", culprit.id)
            ctx.rewind(culprit)  # ask the user to shorten it
#> 108 tokens needed, 50 allowed
#> too long: message 3
print(len(ctx.messages()), "messages, as before")
#> 2 messages, as before
