#!/usr/bin/env python3
# Makes vectors.txt with scapy, which computes every length and checksum by itself: name, direction, packet in, packets out.
# The table: 2001:db8:1::100 = 198.18.0.1 (home address), 2001:db8:2::2 = 198.18.0.2, NAT64 64:ff9b::/96; the first other source
# becomes 198.18.0.3. The first packet that the translator has to number gets the identification 1.
from scapy.all import *

HOA, CN, ROUTER, X = "2001:db8:1::100", "2001:db8:2::2", "2001:db8:7::1", "64:ff9b::c000:205"
V4H, V4C, V4R, V4X = "198.18.0.1", "198.18.0.2", "198.18.0.3", "192.0.2.5"
text = bytes(range(256)) * 8


def show(name, direction, packet, *out):
    print(name, direction, bytes(packet).hex(), *[bytes(o).hex() for o in out], sep="\t")


def options():
    return [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (7, 0)), ("NOP", None), ("WScale", 7)]


def syn(**more):
    return TCP(sport=40000, dport=80, flags="S", seq=0x01020304, window=64240, options=options(), **more)


up4, up6 = dict(src=V4H, dst=V4C), dict(src=HOA, dst=CN)
dn4, dn6 = dict(src=V4C, dst=V4H), dict(src=CN, dst=HOA)

show("tcp-syn", "up", IP(flags="DF", ttl=64, id=5, **up4) / syn(), IPv6(hlim=63, **up6) / syn())
show("tcp-ecn", "up", IP(flags="DF", tos=0xBA, ttl=2, **up4) / TCP(sport=1, dport=2, flags="A") / text[:1000],
     IPv6(hlim=1, tc=0xBA, **up6) / TCP(sport=1, dport=2, flags="A") / text[:1000])
show("udp", "up", IP(id=9, **up4) / UDP(sport=5000, dport=53) / text[:33], IPv6(hlim=63, **up6) / UDP(sport=5000, dport=53) / text[:33])
show("udp-without-checksum", "up", IP(**up4) / UDP(sport=5000, dport=53, chksum=0) / text[:33], IPv6(hlim=63, **up6) / UDP(sport=5000, dport=53) / text[:33])
show("udp-nat64", "up", IP(src=V4H, dst=V4X) / UDP(sport=5000, dport=53) / text[:8], IPv6(hlim=63, src=HOA, dst=X) / UDP(sport=5000, dport=53) / text[:8])
show("options-left-out", "up", IP(options=[IPOption_RR(routers=["0.0.0.0"] * 3), IPOption_NOP()], **up4) / UDP(sport=1, dport=2) / b"x",
     IPv6(hlim=63, **up6) / UDP(sport=1, dport=2) / b"x")
show("echo-request", "up", IP(**up4) / ICMP(type=8, id=77, seq=3) / text[:56], IPv6(hlim=63, **up6) / ICMPv6EchoRequest(id=77, seq=3, data=text[:56]))
show("echo-reply", "up", IP(**up4) / ICMP(type=0, id=77, seq=3) / text[:57], IPv6(hlim=63, **up6) / ICMPv6EchoReply(id=77, seq=3, data=text[:57]))
show("other-protocol", "up", IP(proto=132, **up4) / text[:20], IPv6(hlim=63, nh=132, **up6) / text[:20])

whole4 = IP(id=0xABCD, **up4) / UDP(sport=1, dport=2) / text[:1500]
whole6 = bytes(IPv6(hlim=63, **up6) / UDP(sport=1, dport=2) / text[:1500])[40:]
pieces = fragment(IP(bytes(whole4)), fragsize=800)
frag6 = lambda offset, more, data: IPv6(hlim=63, **up6) / IPv6ExtHdrFragment(nh=17, offset=offset // 8, m=more, id=0xABCD) / data
show("fragment-first", "up", pieces[0], frag6(0, 1, whole6[:800]))
show("fragment-last", "up", pieces[1], frag6(800, 0, whole6[800:]))
show("cut", "up", whole4, frag6(0, 1, whole6[:1232]), frag6(1232, 0, whole6[1232:]))
pieces = fragment(IP(bytes(whole4)), fragsize=1400)
show("fragment-cut-again", "up", pieces[0], frag6(0, 1, whole6[:1232]), frag6(1232, 1, whole6[1232:1400]))

echo4 = IP(id=0x1234, **up4) / ICMP(type=8, id=1, seq=1) / text[:1400]
echo6 = bytes(IPv6(hlim=63, **up6) / ICMPv6EchoRequest(id=1, seq=1, data=text[:1400]))[40:]
echof = lambda offset, more, data: IPv6(hlim=63, **up6) / IPv6ExtHdrFragment(nh=58, offset=offset // 8, m=more, id=0x1234) / data
show("echo-cut", "up", echo4, echof(0, 1, echo6[:1232]), echof(1232, 0, echo6[1232:]))

# Errors of the host about what a correspondent sent.
got4 = IP(ttl=50, id=1, **dn4) / UDP(sport=53, dport=9999) / text[:20]
got6 = IPv6(hlim=50, **dn6) / UDP(sport=53, dport=9999) / text[:20]
err6 = lambda message, quoted: IPv6(hlim=63, **up6) / message / bytes(quoted)
for code4, type6, code6 in [(0, 1, 0), (1, 1, 0), (3, 1, 4), (5, 1, 0), (6, 1, 0), (7, 1, 0), (8, 1, 0), (9, 1, 1), (10, 1, 1), (11, 1, 0), (12, 1, 0), (13, 1, 1), (15, 1, 1)]:
    show(f"unreachable-{code4}", "up", IP(**up4) / ICMP(type=3, code=code4) / bytes(got4), err6(ICMPv6DestUnreach(code=code6), got6))
show("protocol-unreachable", "up", IP(**up4) / ICMP(type=3, code=2) / bytes(got4), err6(ICMPv6ParamProblem(code=1, ptr=6), got6))
show("time-exceeded", "up", IP(**up4) / ICMP(type=11, code=1) / bytes(got4), err6(ICMPv6TimeExceeded(code=1), got6))
show("fragmentation-needed", "up", IP(**up4) / ICMP(type=3, code=4, nexthopmtu=1300) / bytes(got4), err6(ICMPv6PacketTooBig(mtu=1320), got6))
show("fragmentation-needed-small", "up", IP(**up4) / ICMP(type=3, code=4, nexthopmtu=600) / bytes(got4), err6(ICMPv6PacketTooBig(mtu=1280), got6))
for pointer4, pointer6 in [(0, 0), (1, 1), (2, 4), (3, 4), (8, 7), (9, 6), (12, 8), (15, 8), (16, 24), (19, 24)]:
    show(f"parameter-problem-{pointer4}", "up", IP(**up4) / ICMP(type=12, code=0, ptr=pointer4) / bytes(got4), err6(ICMPv6ParamProblem(code=0, ptr=pointer6), got6))
goticmp4 = IP(ttl=50, id=1, **dn4) / ICMP(type=8, id=3, seq=4) / text[:64]
goticmp6 = IPv6(hlim=50, **dn6) / ICMPv6EchoRequest(id=3, seq=4, data=text[:64])
show("unreachable-echo", "up", IP(**up4) / ICMP(type=3, code=1) / bytes(goticmp4), err6(ICMPv6DestUnreach(code=0), goticmp6))

# Network to host.
show("tcp", "down", IPv6(hlim=60, tc=0x03, fl=0x12345, **dn6) / syn(), IP(ttl=59, tos=3, id=1, **dn4) / syn())
show("tcp-1260", "down", IPv6(**dn6) / TCP(sport=80, dport=1) / text[:1220], IP(ttl=63, id=1, **dn4) / TCP(sport=80, dport=1) / text[:1220])
show("tcp-1261", "down", IPv6(**dn6) / TCP(sport=80, dport=1) / text[:1221], IP(ttl=63, id=1, flags="DF", **dn4) / TCP(sport=80, dport=1) / text[:1221])
show("udp", "down", IPv6(**dn6) / UDP(sport=53, dport=1) / text[:11], IP(ttl=63, id=1, **dn4) / UDP(sport=53, dport=1) / text[:11])
show("udp-nat64", "down", IPv6(src=X, dst=HOA) / UDP(sport=53, dport=1) / text[:11], IP(ttl=63, id=1, src=V4X, dst=V4H) / UDP(sport=53, dport=1) / text[:11])
show("udp-new-source", "down", IPv6(src=ROUTER, dst=HOA) / UDP(sport=53, dport=1) / text[:11], IP(ttl=63, id=1, src=V4R, dst=V4H) / UDP(sport=53, dport=1) / text[:11])
show("echo-request", "down", IPv6(**dn6) / ICMPv6EchoRequest(id=5, seq=6, data=text[:40]), IP(ttl=63, id=1, **dn4) / ICMP(type=8, id=5, seq=6) / text[:40])
show("echo-reply", "down", IPv6(**dn6) / ICMPv6EchoReply(id=5, seq=6, data=text[:40]), IP(ttl=63, id=1, **dn4) / ICMP(type=0, id=5, seq=6) / text[:40])
inner = UDP(sport=53, dport=1) / text[:4]
sound = bytes(IPv6(**dn6) / inner)[40:]
show("extension-headers", "down",
     IPv6(**dn6) / IPv6ExtHdrHopByHop(options=[RouterAlert()]) / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)], nh=43) / Raw(bytes([17, 2, 0, 0, 0, 0, 0, 0]) + inet_pton(socket.AF_INET6, CN) + sound),
     IP(ttl=63, id=1, **dn4) / inner)
whole6 = bytes(IPv6(**dn6) / UDP(sport=1, dport=2) / text[:1500])[40:]
whole4 = bytes(IP(**dn4) / UDP(sport=1, dport=2) / text[:1500])[20:]
show("fragment-first", "down", IPv6(**dn6) / IPv6ExtHdrFragment(nh=17, offset=0, m=1, id=0x77771234) / whole6[:800], IP(ttl=63, id=0x1234, flags="MF", proto=17, **dn4) / whole4[:800])
show("fragment-last", "down", IPv6(**dn6) / IPv6ExtHdrFragment(nh=17, offset=100, m=0, id=0x77771234) / whole6[800:], IP(ttl=63, id=0x1234, frag=100, proto=17, **dn4) / whole4[800:])
show("fragment-that-is-none", "down", IPv6(**dn6) / IPv6ExtHdrFragment(nh=17, offset=0, m=0, id=0x77771234) / sound, IP(ttl=63, id=0x1234, **dn4) / inner)

# Errors of the network about what the host sent.
sent6 = IPv6(hlim=50, **up6) / TCP(sport=1, dport=80, flags="A", seq=9) / text[:1400]
sent4 = lambda: IP(ttl=50, id=0, flags="DF", **up4) / TCP(sport=1, dport=80, flags="A", seq=9) / text[:1400]
err4 = lambda message, quoted, source=V4C: IP(ttl=63, id=1, src=source, dst=V4H, flags="DF" if 28 + len(quoted) > 1260 else 0) / message / quoted
quoted6, quoted4 = bytes(sent6)[:1232], bytes(sent4())[:1212]
for code6, code4 in [(0, 1), (1, 10), (2, 1), (3, 1), (4, 3)]:
    show(f"unreachable-{code6}", "down", IPv6(**dn6) / ICMPv6DestUnreach(code=code6) / quoted6, err4(ICMP(type=3, code=code4), quoted4))
show("too-big", "down", IPv6(src=ROUTER, dst=HOA) / ICMPv6PacketTooBig(mtu=1400) / quoted6, err4(ICMP(type=3, code=4, nexthopmtu=1380), quoted4, V4R))
show("time-exceeded", "down", IPv6(src=ROUTER, dst=HOA) / ICMPv6TimeExceeded(code=0) / quoted6, err4(ICMP(type=11, code=0), quoted4, V4R))
show("unrecognized-next-header", "down", IPv6(**dn6) / ICMPv6ParamProblem(code=1, ptr=6) / quoted6, err4(ICMP(type=3, code=2), quoted4))
for pointer6, pointer4 in [(0, 0), (1, 1), (4, 2), (5, 2), (6, 9), (7, 8), (8, 12), (23, 12), (24, 16), (39, 16)]:
    show(f"parameter-problem-{pointer6}", "down", IPv6(**dn6) / ICMPv6ParamProblem(code=0, ptr=pointer6) / quoted6, err4(ICMP(type=12, code=0, ptr=pointer4), quoted4))
sent6 = IPv6(hlim=1, **up6) / ICMPv6EchoRequest(id=3, seq=4, data=text[:40])
sent4 = IP(ttl=1, id=0, **up4) / ICMP(type=8, id=3, seq=4) / text[:40]
show("time-exceeded-echo", "down", IPv6(src=ROUTER, dst=HOA) / ICMPv6TimeExceeded(code=0) / bytes(sent6), err4(ICMP(type=11, code=0), bytes(sent4), V4R))
part6 = IPv6(hlim=9, **up6) / IPv6ExtHdrFragment(nh=17, offset=0, m=1, id=0xBEEF) / bytes(IPv6(**up6) / UDP(sport=1, dport=2, len=1508) / text[:1400])[40:]
part4 = IP(ttl=9, id=0xBEEF, flags="MF", proto=17, **up4) / bytes(IP(**up4) / UDP(sport=1, dport=2, len=1508) / text[:1400])[20:]
show("too-big-fragment", "down", IPv6(src=ROUTER, dst=HOA) / ICMPv6PacketTooBig(mtu=1300) / bytes(part6)[:1232], err4(ICMP(type=3, code=4, nexthopmtu=1272), bytes(part4)[:1204], V4R))
