"""What was said, and what is sent of it. `Conversation` is the only writer."""
