"""Activations made for tests, besides those of `migrator.testing`."""

from __future__ import annotations

from migrator.activations import forms
from migrator.activations.document import Document, Form, read_document


def in_elasticsearch(id: str, body: bytes) -> Document:
    """A document in CouchDB form as Elasticsearch holds it."""
    document = read_document(id, body, Form.COUCHDB)
    assert isinstance(document, Document), document
    converted = forms.convert(document, Form.ELASTICSEARCH)
    assert isinstance(converted, Document), converted
    return converted
