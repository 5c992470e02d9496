"""Tool schemas: they cost tokens too, so give them to the manager."""

from ctxwin import ContextManager

parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
function = {"name": "get_weather", "description": "", "parameters": parameters}
tools = [{"type": "function", "function": function}]

ctx = ContextManager(max_tokens=4000, model="gpt-4o", tools=tools)  # ctx.tools can be set later
ctx.add_message("user", "What is the weather in Paris? Use the tool.")
print(ctx.total_tokens, "tokens")  # OpenAI billed 48
#> 48 tokens
