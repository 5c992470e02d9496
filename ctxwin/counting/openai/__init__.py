"""
OpenAI's requests: what messages, tools, formats and media cost beside their text.

`openai` holds the counter. It takes its figures from `rules` (frames and image prices by family of
models), the text of tools and formats from `tools`, the size of images, audio and files from
`media`, and can read whole request bodies (`bodies`).
"""
