"""What gRPC is told about the port: limits and keepalive."""

from __future__ import annotations

OPTIONS: tuple[tuple[str, int], ...] = (
    # 100,000 names in one request are 4.2 MB, above gRPC's default.
    ("grpc.max_receive_message_length", 32 << 20),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 32 << 10),
    ("grpc.max_concurrent_streams", 16),
    # Our pings find dead peers; Envoy's own pings (every 30 s) must not count as abuse.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
    # Two servers on one port would share its connections, unseen.
    ("grpc.so_reuseport", 0),
)
