"""How a window gets smaller. Everything here proposes; the conversation alone applies."""
