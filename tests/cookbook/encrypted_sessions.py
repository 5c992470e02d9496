"""Encrypted sessions: the first key encrypts, all decrypt; keys can change."""

from cryptography.fernet import Fernet

from ctxwin.sessions import RecordError, open_store
from ctxwin.sessions.stores.encrypted import EncryptedStore

old, new = Fernet.generate_key(), Fernet.generate_key()
with open_store("sqlite:///chats.db", keys=[old]) as store:
    store.open("user-42", max_tokens=4000).add_message("user", "My secret is 1234.")

with open_store("sqlite:///chats.db") as store:  # without a key
    try:
        store.read("user-42")
    except RecordError as error:
        print("cannot read record", error.number, "of", error.session)
    encrypted = EncryptedStore(store.store, keys=[new, old])
    for session in store.list():
        encrypted.rotate(session)  # from now on the new key is enough
#> cannot read record 1 of user-42

with open_store("sqlite:///chats.db", keys=[new]) as store:
    print(store.read("user-42"))
#> [<Message 1 user 'My secret is 1234.'>]
