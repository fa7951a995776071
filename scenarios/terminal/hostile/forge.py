"""Makes packets that no honest node sends, with scapy and pyca/cryptography: a maker that has no line in common with what they are tried on.

Reads requests from a FIFO, one JSON object a line: what to make, and what it takes. Prints for each its number and the packets in hexadecimal.
"""
import json
import os
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from scapy.layers.inet import UDP
from scapy.layers.inet6 import (
    HAO, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrRouting, MIP6MH_BA, MIP6MH_BE, in6_chksum)

ICV, IV = 16, 8


def tunnel(source, destination, *rest):
    packet = IPv6(src=source, dst=destination)
    for one in rest:
        packet = packet / one
    return packet


def user(q, source, destination, port=7):
    return tunnel(source, destination, UDP(sport=40000, dport=port), b"hostile")


def route(home, left=1, kind=2):
    return IPv6ExtHdrRouting(type=kind, addresses=[home], segleft=left)


def answer(q, status=0, sequence=1, home=None, left=1):
    return tunnel(q["agent"], q["careof"], route(home or q["home"], left), MIP6MH_BA(status=status, seq=sequence, mhtime=8))


def nested(q):
    packet = user(q, q["peer"], q["home"])
    for _ in range(5):
        packet = tunnel(q["agent"], q["careof"], packet)
    return packet


def routed(q):
    """RH2 with another home address, with 0 and 2 segments left, and RH0, before data."""
    data = UDP(sport=40000, dport=7) / b"hostile"
    return [tunnel(q["peer"], q["careof"], r, data) for r in (route(q["other"]), route(q["home"], 0), route(q["home"], 2), route(q["home"], 1, 0))]


def malformed(q):
    """An acknowledgement with a wrong checksum, one longer than its packet, one of a reserved type."""
    good = bytearray(bytes(answer(q)))
    at = 40 + 24
    checksum, length, kind = bytearray(good), bytearray(good), bytearray(good)
    checksum[at + 4] ^= 0xFF
    length[at + 1] = 40
    kind[at + 2] = 200
    return [checksum, remade(length, at, q["agent"], q["home"]), remade(kind, at, q["agent"], q["home"])]


def remade(packet, at, source, destination):
    """With the checksum of its mobility header right."""
    packet[at + 4:at + 6] = b"\0\0"
    checksum = in6_chksum(135, IPv6(src=source, dst=destination), bytes(packet[at:]))
    packet[at + 4:at + 6] = checksum.to_bytes(2, "big")
    return packet


class Esp:
    """ESP of a packet on the wire with AES-GCM (RFC 4106), with 32 or 64 bits of sequence number (RFC 4303 2.2.1)."""

    def __init__(self, packet, keys):
        self.packet = packet
        self.at = 40 + (8 * (packet[41] + 1) if packet[6] == 43 else 0)
        self.esp = packet[self.at:]
        key = bytes.fromhex(keys[self.esp[:4].hex()])
        self.cipher, self.salt = AESGCM(key[:-4]), key[-4:]
        for high in (bytes(4), b""):
            self.associated = self.esp[:4] + high + self.esp[4:8]
            try:
                clear = self.cipher.decrypt(self.salt + self.esp[8:8 + IV], self.esp[8 + IV:], self.associated)
            except InvalidTag:
                continue
            self.next, self.clear = clear[-1], clear[:len(clear) - 2 - clear[-2]]
            return
        raise ValueError("no key opens it")

    def close(self, clear, protocol):
        """The same packet with other content, under the same sequence number."""
        iv = os.urandom(IV)
        padding = -(len(clear) + 2) % 4
        trailer = bytes(range(1, padding + 1)) + bytes([padding, protocol])
        made = self.packet[:self.at] + self.esp[:8] + iv + self.cipher.encrypt(self.salt + iv, clear + trailer, self.associated)
        return made[:4] + (len(made) - 40).to_bytes(2, "big") + made[6:]


def changed(q, status=None, sequence=None):
    """The home agent's own acknowledgement with another status or sequence number, correctly protected."""
    esp = Esp(bytes.fromhex(q["packet"]), q["keys"])
    message = bytearray(esp.clear)
    if status is not None:
        message[6] = status
    if sequence is not None:
        message[8:10] = ((int.from_bytes(message[8:10], "big") + sequence) & 0xFFFF).to_bytes(2, "big")
    return esp.close(bytes(remade(message, 0, q["agent"], q["home"])), 135)


def rewrapped(q):
    """The user's packet out of the home agent's ESP tunnel, in a mobile header of somebody else, protected again."""
    esp = Esp(bytes.fromhex(q["packet"]), q["keys"])
    inner = esp.clear
    if inner[24:40] == bytes(IPv6(src=q["agent"], dst=q["careof"]))[24:40]:
        inner = inner[40:]
    return esp.close(bytes(IPv6(src=q["stranger"], dst=q["careof"], nh=41, plen=len(inner))) + inner, 41)


def flipped(q, at):
    packet = bytearray(bytes.fromhex(q["packet"]))
    packet[at] ^= 0x55
    return packet


MAKERS = {
    "unknown-spi": lambda q: flipped(q, 40 + (8 * (bytes.fromhex(q["packet"])[41] + 1) if bytes.fromhex(q["packet"])[6] == 43 else 0)),
    "wrong-icv": lambda q: flipped(q, -1),
    "plain-answer": answer,
    "plain-tunnel": lambda q: tunnel(q["agent"], q["careof"], user(q, q["peer"], q["home"])),
    "plain-routed": lambda q: tunnel(q["peer"], q["careof"], route(q["home"]), UDP(sport=40000, dport=7), b"hostile"),
    "stranger-tunnel": lambda q: tunnel(q["stranger"], q["careof"], user(q, q["peer"], q["home"])),
    "stranger-inside": rewrapped,
    "routed": routed,
    "routed-answer": lambda q: [answer(q, home=q["other"]), answer(q, left=0), answer(q, left=2)],
    "for-others": lambda q: tunnel(q["agent"], q["careof"], user(q, q["peer"], q["other"])),
    "callers": lambda q: [tunnel(q["agent"], q["careof"], user(q, f"2001:db8:c::{n:x}", q["home"])) for n in range(q["from"], q["to"])],
    "scenario-port": lambda q: tunnel(q["peer"], q["destination"], UDP(sport=10012, dport=10012), bytes(answer(q))),
    "forged-answer": lambda q: tunnel(q["peer"], q["careof"], route(q["home"]), MIP6MH_BA(status=0, seq=q["sequence"], mhtime=8, options=[])),
    "forged-error": lambda q: tunnel(q["peer"], q["careof"], MIP6MH_BE(status=1, ha=q["home"])),
    "nested": nested,
    "refused-answer": lambda q: changed(q, status=q["status"]),
    "late-answer": lambda q: changed(q, sequence=-7),
    "reverse-tunnel": lambda q: tunnel(q["stranger"], q["agent"], user(q, q["home"], q["peer"])),
    "home-address-option": lambda q: tunnel(q["stranger"], q["peer"], IPv6ExtHdrDestOpt(options=[HAO(hoa=q["other"])]), UDP(sport=40000, dport=7), b"hostile"),
    "malformed": malformed,
}


def main(fifo):
    os.mkfifo(fifo)
    print("ready", flush=True)
    while True:
        with open(fifo) as requests:
            for line in requests:
                request = json.loads(line)
                made = MAKERS[request["make"]](request)
                print(request["number"], *(bytes(m).hex() for m in (made if isinstance(made, list) else [made])), flush=True)


main(sys.argv[1])
