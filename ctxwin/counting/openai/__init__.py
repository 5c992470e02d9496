"""
OpenAI's requests: what messages, tools, formats and media cost beside their text.

`chat` counts the OpenAI chat format for any counter of texts. `openai` counts for OpenAI's models:
with frames and image prices by family (`rules`), the text of tools and formats (`tools`), and the
size of images, audio and files (`media`). `bodies` reads whole request bodies.
"""
