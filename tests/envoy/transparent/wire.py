"""Everything that crosses the private network, as the machines between two hosts would see it."""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
import uuid
from dataclasses import dataclass

from deploy.demo.private_network import GATEWAY
from tests.envoy.transparent.host import PATIENCE, Host

_ALL_PROTOCOLS = 3  # ETH_P_ALL, linux/if_ether.h
_IPV4, _IPV6 = 0x0800, 0x86DD
_SOL_PACKET, _PACKET_STATISTICS = 263, 6  # linux/socket.h, linux/if_packet.h
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h
_TCP, _UDP = 6, 17
_SYN, _ACK = 0x02, 0x10


@dataclass(frozen=True, slots=True)
class Packet:
    """A TCP segment or UDP datagram. `opening`: the first packet of a TCP connection."""

    source: tuple[str, int]
    destination: tuple[str, int]
    opening: bool
    payload: bytes


class Wire:
    """Listens to every interface of the network namespace it is made in. Use it as a context manager."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ALL_PROTOCOLS))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 64 << 20)
        self._socket.settimeout(0.2)
        self._packets: list[Packet] = []
        self._news = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Wire:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._thread.join()
        self._socket.close()

    def packets(self, by: Host) -> list[Packet]:
        """All packets so far. They are all there, since a last one that `by` sends has come through."""
        marker = uuid.uuid4().bytes
        with by.namespace.run(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as sending:
            sending.sendto(marker, (GATEWAY, 9))
        with self._news:
            assert self._news.wait_for(lambda: any(each.payload == marker for each in self._packets), PATIENCE)
            packets = list(self._packets)
        _, dropped = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        assert dropped == 0, "the kernel dropped packets before we saw them"
        return packets

    def shows(self, data: bytes, by: Host) -> bool:
        """Whether anybody has sent `data` in clear so far."""
        return any(data in packet.payload for packet in self.packets(by))

    def _listen(self) -> None:
        while not self._closed:
            try:
                raw, (_, protocol, *_rest) = self._socket.recvfrom(1 << 17)
            except TimeoutError:
                continue
            packet = _parsed(raw, protocol)
            if packet is not None:
                with self._news:
                    self._packets.append(packet)
                    self._news.notify_all()


def _parsed(raw: bytes, protocol: int) -> Packet | None:
    if protocol == _IPV4:
        number, header = raw[9], (raw[0] & 0x0F) * 4
        length = struct.unpack_from("!H", raw, 2)[0]
        source, destination = raw[12:16], raw[16:20]
    elif protocol == _IPV6:
        number, header = raw[6], 40
        length = 40 + struct.unpack_from("!H", raw, 4)[0]
        source, destination = raw[8:24], raw[24:40]
    else:
        return None
    if number not in (_TCP, _UDP):
        return None
    from_port, to_port = struct.unpack_from("!HH", raw, header)
    flags = raw[header + 13] if number == _TCP else 0
    start = header + (raw[header + 12] >> 4) * 4 if number == _TCP else header + 8
    end = len(raw) if length == 0 else length  # 0: a packet larger than the field can say
    return Packet(
        (str(ipaddress.ip_address(source)), from_port),
        (str(ipaddress.ip_address(destination)), to_port),
        opening=bool(flags & _SYN) and not flags & _ACK,
        payload=raw[start:end],
    )
