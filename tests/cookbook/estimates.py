"""Count for Claude, Gemini or Mistral: an estimate, or a bound that most requests keep."""

from ctxwin import ContextManager
from ctxwin.counting import estimate_for

question = {"role": "user", "content": "Why is the sky blue? Answer for a child of six, please."}
for model in ("claude-sonnet-4-5", "gemini-2.5-pro", "mistral-large"):
    ctx = ContextManager(max_tokens=100_000, model=model)
    ctx.append(question)
    bound = ContextManager(max_tokens=100_000, counter=estimate_for(model, quantile=0.95))
    bound.append(question)
    print(model, "estimate:", ctx.total_tokens, "bound:", bound.total_tokens)
#> claude-sonnet-4-5 estimate: 24 bound: 57
#> gemini-2.5-pro estimate: 16 bound: 20
#> mistral-large estimate: 19 bound: 31
