"""Send an easy question to a cheaper model: each model has a window of its own."""

from openai import OpenAI

from ctxwin import ContextManager, Route, RouteRequest, hookimpl


class EasyFirst:
    """Short questions go to the smaller model."""

    @hookimpl
    def ctxwin_route(self, request: RouteRequest) -> Route | None:
        easy = request.question is not None and len(str(request.question.content)) < 40
        return Route(model="gpt-4o-mini", tags={"complexity": "simple"}) if easy else None


def chat(question: str) -> None:
    ctx.add_message("user", question)
    request = ctx.request()
    reply = client.chat.completions.create(**request.arguments())
    ctx.observe(reply, request)  # the bill is learnt for that model's window alone
    ctx.append(reply.choices[0].message)
    print(request.model, request.tokens)


client = OpenAI()
ctx = ContextManager(max_tokens=4000, model="gpt-4o", strategies=[EasyFirst()])
chat("Hello!")
#> gpt-4o-mini 9
chat("Compare the tariffs of the last three years, and prove that ours are the lowest.")
#> gpt-4o 40
print(len(ctx))
#> 4
