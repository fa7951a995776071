"""An operator's station: sends a router renumbering command (RFC 2894) with the MAP options of docs/wire-extensions.md, under ESP, and prints the router's result.

Python's own sockets and pyca/cryptography; no line in common with the router. Takes the name of a JSON file: station, router, sequence, match, length,
anchor, distance, preference, lifetime, and for each way spi, encryption and authentication (keys in hexadecimal).
"""
import hashlib
import hmac
import ipaddress
import json
import os
import socket
import struct
import sys

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

ICMPV6, ESP, RENUMBERING, SET_ANCHORS, RESULT_ASKED = 58, 50, 138, 253, 0x40


def packed(address):
    return ipaddress.IPv6Address(address).packed


def checksum(source, destination, message):
    data = packed(source) + packed(destination) + struct.pack(">II", len(message), ICMPV6) + message
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def command(q):
    option = struct.pack(">BBBBI", 23, 3, q["distance"] << 4 | q["preference"], 0x80, q["lifetime"]) + packed(q["anchor"])
    operation = struct.pack(">BBBBBBH", SET_ANCHORS, 3 + 4, 1, q["length"], q["length"], 128, 0) + packed(q["match"]) + bytes(8) + option
    message = struct.pack(">BBHIBBHI", RENUMBERING, 0, 0, q["sequence"], 1, RESULT_ASKED, 0, 0) + operation
    return message[:2] + struct.pack(">H", checksum(q["station"], q["router"], message)) + message[4:]


def tag(key, octets):
    return hmac.new(bytes.fromhex(key["authentication"]), octets, hashlib.sha256).digest()[:16]


def cipher(key, iv):
    return Cipher(algorithms.AES(bytes.fromhex(key["encryption"])), modes.CBC(iv))


def close(key, message):
    padding = -(len(message) + 2) % 16
    clear, iv = message + bytes(range(1, padding + 1)) + bytes([padding, ICMPV6]), os.urandom(16)
    encryptor = cipher(key, iv).encryptor()
    octets = struct.pack(">II", key["spi"], 1) + iv + encryptor.update(clear) + encryptor.finalize()
    return octets + tag(key, octets)


def open_(key, octets):
    if len(octets) < 56 or struct.unpack(">I", octets[:4])[0] != key["spi"] or not hmac.compare_digest(tag(key, octets[:-16]), octets[-16:]):
        return None
    decryptor = cipher(key, octets[8:24]).decryptor()
    clear = decryptor.update(octets[24:-16]) + decryptor.finalize()
    return clear[:-2 - clear[-2]] if clear[-1] == ICMPV6 else None


def main():
    with open(sys.argv[1], encoding="ascii") as file:
        q = json.load(file)
    link = socket.socket(socket.AF_INET6, socket.SOCK_RAW, ESP)
    link.bind((q["station"], 0))
    link.settimeout(10)
    link.sendto(close(q["out"], command(q)), (q["router"], 0))
    while (result := open_(q["in"], link.recv(2048))) is None:
        pass
    results = [result[at:at + 24] for at in range(16, len(result), 24)]
    print(json.dumps({
        "type": result[0], "code": result[1], "sequence": struct.unpack(">I", result[4:8])[0],
        "prefixes": [f"{ipaddress.IPv6Address(r[8:])}/{r[3]}" for r in results], "forbidden": [r[1] & 1 for r in results],
    }))


main()
