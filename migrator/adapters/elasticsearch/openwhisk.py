"""Which servers stock OpenWhisk reads.

A server enters, a sentence leaves where OpenWhisk can't use it.

Source: OpenWhisk's `ElasticSearchActivationStore` uses elastic4s 6.7.8 with the REST client of 6.x, which names a type
in every request; 7 and later refuse that or answer in another shape.
"""

from __future__ import annotations

from migrator.adapters.elasticsearch.client import Server


def limitation(server: Server) -> str:
    """What OpenWhisk as it is released can't do with this server; empty for 6.x."""
    if server.is_typed:
        return ""
    return (
        f"stock OpenWhisk reads Elasticsearch 6.x only, and this is {server.product} {server.version}: activations "
        "here are kept and can be searched, but `wsk activation get`, `list` and `logs` don't find them unless your "
        "OpenWhisk is patched for it"
    )
