"""Tool calls: a call and its results are kept or dropped together, so the request is valid."""

from ctxwin import ContextManager

ctx = ContextManager(max_tokens=112, model="gpt-4o")
for city in ("Paris", "Lyon", "Nice", "Metz"):
    ctx.add_message("user", f"What is the weather in {city}?")
    function = {"name": "weather", "arguments": f'{{"city": "{city}"}}'}
    call = {"type": "function", "id": city, "function": function}
    ctx.add_message("assistant", None, tool_calls=[call])
    if city != "Nice":  # here the user went on before the result was there
        ctx.add_message("tool", '{"sky": "clear"}', tool_call_id=city)
print([message["role"] for message in ctx.messages()])
#> ['user', 'assistant', 'tool', 'user', 'user', 'assistant', 'tool']
print([message.id for message in ctx.left_out], "is left out until its result comes")
#> [8] is left out until its result comes
