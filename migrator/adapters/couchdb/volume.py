"""What a CouchDB database tells of its size. Its client enters, a `Volume` leaves."""

from __future__ import annotations

from migrator.adapters.couchdb.client import Client
from migrator.adapters.questions import Place, Volume


def volume(client: Client) -> Volume:
    """A database of very many documents is sampled: ids end in random digits, so that neighbours are of any time."""
    about = client.about()
    place = Place(name=client.database, documents=about.doc_count, size_bytes=about.size_bytes)
    return Volume(places=(place,), sampled=True)
