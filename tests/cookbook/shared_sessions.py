"""Two workers on one conversation: no message is lost, doubled or out of order."""

from ctxwin.sessions import open_store

with open_store("sqlite:///chats.db") as store:
    desk = store.open("user-42", max_tokens=4000, model="gpt-4o")
    phone = store.open("user-42", max_tokens=4000, model="gpt-4o")
    desk.add_message("user", "Where is my parcel?")
    phone.add_message("user", "It is order 88213.")  # reads what the desk wrote, then adds to it
    desk.refresh()  # every change does this too; messages() alone does not
    print(desk.messages() == phone.messages())
    print([message["content"] for message in desk.messages()])
#> True
#> ['Where is my parcel?', 'It is order 88213.']
