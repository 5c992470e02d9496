"""Encrypted sessions: the first key encrypts, every key decrypts."""

from cryptography.fernet import Fernet

from ctxwin.sessions import RecordError, open_store

old, new = Fernet.generate_key(), Fernet.generate_key()
with open_store("sqlite:///chats.db", keys=[old]) as store:
    store.open("user-42", max_tokens=4000).add_message("user", "My secret is 1234.")

with open_store("sqlite:///chats.db", keys=[new, old]) as store:  # while you change keys
    print(store.read("user-42"))
#> [<Message 1 user 'My secret is 1234.'>]
with open_store("sqlite:///chats.db", keys=[new]) as store:
    try:
        store.read("user-42")
    except RecordError as error:
        print("cannot read record", error.number, "of", error.session)
#> cannot read record 1 of user-42
