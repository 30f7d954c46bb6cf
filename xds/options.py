"""What gRPC is told about the port: limits and keepalive."""

from __future__ import annotations

OPTIONS: tuple[tuple[str, int], ...] = (
    # 30,000 names of one type, which is the limit, may be more than gRPC's default of 4 MiB; so may the versions of
    # everything that a proxy holds when it comes back.
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 32 << 10),
    ("grpc.max_concurrent_streams", 16),
    # Our pings find dead peers; Envoy's own pings (every 30 s) must not count as abuse.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
    # A connection that does not get as far as HTTP/2 in this time is closed; gRPC's default is two minutes. When all
    # proxies come at once, an honest one may wait for seconds.
    ("grpc.server_handshake_timeout_ms", 20_000),
    # Each costs 20 kB before it has said anything, and 113 kB with a proxy behind it.
    ("grpc.max_allowed_incoming_connections", 20_000),
    # One that asks for nothing is closed. Envoys that were refused come back within 30 s.
    ("grpc.max_connection_idle_ms", 120_000),
    # Two servers on one port would share its connections, unseen.
    ("grpc.so_reuseport", 0),
)
