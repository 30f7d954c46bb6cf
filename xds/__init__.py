"""An xDS server: resources, views of them, and the streams that keep Envoy in agreement with its view.

In: encoded resources grouped in scopes, and which proxy sees which scopes (``store``); who may connect
(``authentication``). Out: delta and state-of-the-world ADS over gRPC (``server``), and what every connected
proxy holds (``status``, ``metrics``, ``debug``). Nothing here knows what a resource is about.
"""
