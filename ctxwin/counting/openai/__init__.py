"""OpenAI's requests: what messages, tools, formats and media cost beside their text."""
