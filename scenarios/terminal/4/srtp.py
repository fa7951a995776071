"""Audio of a telephone by SRTP (RFC 3711) with keys out of SDP (RFC 4568). What SIPp logs of its call says where to and under which keys.

srtp.py LOG PACKETS [spoil]: LOG is SIPp's message file, PACKETS how many are sent, 20 ms apart; with spoil every sixtieth has a wrong tag once
the other end is heard. Prints at its end what was sent and received, by the order in which the sender sent it, as JSON.
"""
import base64, hashlib, hmac, json, re, select, socket, struct, sys, time
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

TAG, AUDIO, FIRST = 10, 160, 65450  # octets, octets, first sequence number: the 16 bits overflow within the call


def keystream(key, counter, length):
    return Cipher(algorithms.AES(key), modes.CTR(counter.to_bytes(16, "big"))).encryptor().update(bytes(length))


class Stream:
    """One direction: session keys of a master key (RFC 3711 4.3), packets sealed and opened."""

    def __init__(self, inline):
        master = base64.b64decode(inline)
        salt = int.from_bytes(master[16:30], "big")
        session = lambda label, length: keystream(master[:16], (salt << 16) ^ (label << 64), length)
        self.encryption, self.authentication, self.salt = session(0, 16), session(1, 20), int.from_bytes(session(2, 14), "big")
        self.rollover, self.highest = 0, None

    def crypt(self, payload, source, index):
        octets = keystream(self.encryption, (self.salt << 16) ^ (source << 64) ^ (index << 16), len(payload))
        return bytes(a ^ b for a, b in zip(payload, octets))

    def tag(self, packet, rollover):
        return hmac.new(self.authentication, packet + struct.pack("!I", rollover), hashlib.sha1).digest()[:TAG]

    def seal(self, index, source, payload):
        header = struct.pack("!BBHII", 0x80, 0, index & 0xFFFF, index * AUDIO & 0xFFFFFFFF, source)
        packet = header + self.crypt(payload, source, index)
        return packet + self.tag(packet, index >> 16)

    def open(self, packet):
        """Index and payload; None without the right tag."""
        body, sent = packet[:-TAG], packet[-TAG:]
        number, source = struct.unpack("!H", body[2:4])[0], struct.unpack("!I", body[8:12])[0]
        highest = number if self.highest is None else self.highest
        rollover = self.rollover  # 3.3.1: the one that brings the number nearest to the highest there was
        if highest < 0x8000 and number - highest > 0x8000:
            rollover -= 1
        elif highest >= 0x8000 and highest - 0x8000 > number:
            rollover += 1
        if rollover < 0 or not hmac.compare_digest(self.tag(body, rollover), sent):
            return None
        if self.highest is None or (rollover << 16 | number) > (self.rollover << 16 | self.highest):
            self.rollover, self.highest = rollover, number
        return rollover << 16 | number, self.crypt(body[12:], source, rollover << 16 | number)


def audio(index):
    return bytes((index + i) & 0xFF for i in range(AUDIO))


def described(log, way):
    """Address, port and key that a message of the call sent or received describes."""
    found = re.search(rf"UDP message {way}.*?\nc=IN IP6 (\S+).*?\nm=audio (\d+) RTP/SAVP .*?\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:(\S+)", log, re.S)
    return found and (found[1], int(found[2]), Stream(found[3]))


def call(path):
    while True:
        try:
            with open(path) as file:
                log = file.read().replace("\r", "")
        except FileNotFoundError:
            log = ""
        parts = re.split(r"(?m)^-{20,}.*$", log)
        own = next(filter(None, (described(part, "sent") for part in parts)), None)
        peer = next(filter(None, (described(part, "received") for part in parts)), None)
        if own and peer and "\nACK " in log:
            return own, peer
        time.sleep(0.02)


(own, peer), packets, spoils = call(sys.argv[1]), int(sys.argv[2]), "spoil" in sys.argv[3:]
link = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
link.bind(own[:2])
received, refused, spoiled, other, source = set(), [], [], 0, own[1]
begun, sent = time.monotonic(), 0
while (now := time.monotonic() - begun) < packets * 0.02 + 0.5:
    if sent < packets and now >= sent * 0.02:
        packet = own[2].seal(FIRST + sent, source, audio(sent))
        if spoils and len(received) > 4 and sent - (spoiled or [-60])[-1] >= 60:
            spoiled.append(sent)
            packet = packet[:-1] + bytes([packet[-1] ^ 1])
        link.sendto(packet, peer[:2])
        sent += 1
    wait = max(0, min(0.02, sent * 0.02 - now)) if sent < packets else 0.02
    while select.select([link], [], [], wait)[0]:
        wait, arrived = 0, link.recv(2048)
        opened = peer[2].open(arrived)
        if opened is None:
            refused.append((struct.unpack("!H", arrived[2:4])[0] - FIRST) & 0xFFFF)
        elif opened[1] == audio(opened[0] - FIRST):
            received.add(opened[0] - FIRST)
        else:
            other += 1
print(json.dumps({
    "sent": sent, "spoiled": spoiled, "received": len(received), "refused": refused, "other": other, "first": min(received, default=-1), "last": max(received, default=-1)}), flush=True)
