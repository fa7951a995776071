using System.Buffers.Binary;
using System.Net;
using Sojourn.Engine;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.Gateway;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Engine.MobileIpv4.Agents;
using Sojourn.Engine.Accounting;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Ipsec;
using Sojourn.Wire.MobileIpv4;
using Sojourn.Wire.Tests.Dhcpv6;
using Sojourn.Wire.Tests.MobileIpv4;
using Sojourn.Wire.Udp;

namespace Sojourn.Fuzz;

/// <summary>Valid encodings to begin with, made by our own encoders, and the mending of lengths and checksums.</summary>
internal static class Corpus
{
    private static readonly IPAddress Alice = IPAddress.Parse("10.99.0.10");

    public static IReadOnlyList<byte[]> Udp { get; } = [UdpOf([]), UdpOf([1, 2, 3, 4]), UdpOf(new byte[120])];

    public static IReadOnlyList<byte[]> Tcp { get; } =
    [
        Convert.FromHexString("a1b200500000000100000000500216d000000000"),
        Convert.FromHexString("a1b2005000000001000000008002ffff00000000020405b40103030801010402"),
        [.. Convert.FromHexString("a1b20050000000010000000060120200000000000204ffd8"), .. new byte[64]],
    ];

    public static IReadOnlyList<byte[]> Icmp { get; } = [Echo(8, 0), Echo(3, 4), Echo(128, 0), Echo(2, 0)];

    public static IReadOnlyList<byte[]> Esp { get; } = [Convert.FromHexString("00001001000000010102030405060708"), [.. Convert.FromHexString("184f2f1e00000002"), .. new byte[120]]];

    public static IReadOnlyList<byte[]> EspTrailer { get; } = [Convert.FromHexString("4500001400000000400100000a0000010a00000201020204"), Convert.FromHexString("0004"), [.. new byte[60], 1, 2, 3, 3, 4]];

    public static IReadOnlyList<byte[]> Ah { get; } = [Ah0(24, 60), Ah0(28, 0), Ah0(12, 8)];

    public static IReadOnlyList<byte[]> Ipv4 { get; } =
    [
        Ipv4Of(17, Udp[1], []), Ipv4Of(50, Esp[1], []), Ipv4Of(51, Ah[0], []), Ipv4Of(4, Ipv4Of(1, Icmp[0], []), []), Ipv4Of(6, Tcp[1], [0x94, 4, 0, 0]),
        Ipv4Of(1, new byte[1400], [7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 1]), Ipv4Of(17, Udp[2], [0x83, 7, 4, 10, 0, 0, 1, 0]),
    ];

    public static IReadOnlyList<byte[]> Ipv6 { get; } =
    [
        Ipv6Of(17, Udp[1]), Ipv6Of(58, Icmp[2]), Ipv6Of(0, [60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0, .. Udp[1]]), Ipv6Of(44, [17, 0, 0, 1, 0, 0, 0, 9, .. Udp[2]]),
        Ipv6Of(43, [50, 2, 4, 1, 0, 0, 0, 0, .. new byte[16], .. Esp[1]]), Ipv6Of(41, new byte[1400]), Ipv6Of(51, [17, 4, 0, 0, .. new byte[20], .. Udp[1]]),
    ];

    /// <summary>TCP and UDP inside tunnels of both IP versions.</summary>
    public static IReadOnlyList<byte[]> Tunnelled { get; } = [Ipv6Of(41, Ipv6Of(6, Tcp[1])), Ipv6Of(41, Ipv6Of(41, Ipv6Of(17, Udp[2]))), Ipv6Of(4, Ipv4Of(6, Tcp[1], [])), Ipv4Of(41, Ipv6Of(17, Udp[2]), [])];

    public static IReadOnlyList<byte[]> Dhcpv6 { get; } =
    [
        Convert.FromHexString("01e88e3d0001000e000100013293b366c24a92b821090008000200000019000c000000000000000000000000"),
        Convert.FromHexString("073c0ac90001000e000100013293b366c24a92b821090002000a00030001fa5d55487c3100190029000000000000001e00000030001a00190000003c0000005a3820010db8000000000000000000000000"),
        DhcpSamples.Everything(),
    ];

    public static IReadOnlyList<byte[]> Dhcpv6Relayed { get; } = [.. Dhcpv6.Select(m => DhcpSamples.Relayed(m)), DhcpSamples.Relayed(DhcpSamples.Relayed(Dhcpv6[0]), hops: 1)];

    public static IReadOnlyList<byte[]> MobileIp { get; } = [.. MobileIpSamples.Messages.Values.Select(m => MobileIpSamples.Octets(m.Hex))];

    public static IReadOnlyList<byte[]> TunnelData { get; } = [.. MobileIp.Where(m => m[0] == 4), new TunnelData(4, Ipv4[0]).ToArray(), NatKeepalive.Request(Alice, IPAddress.Parse("10.0.3.2"), 7, 8).ToArray()];

    public static IReadOnlyList<byte[]> Advertisements { get; } = [.. MobileIpSamples.Advertisements.Values.Select(a => a.Message.ToArray())];

    public static IReadOnlyList<byte[]> StoredProfiles { get; } = [.. AllProfiles().Select(new VpnProfileAvps(DiameterDictionary.Default).EncodeForStore)];

    public static IReadOnlyList<byte[]> WrappedProfiles { get; } =
        [.. AllProfiles().Select(p => new VpnProfileAvps(DiameterDictionary.Default).Encode(p, new KeyMaterial([.. Enumerable.Range(0, 32).Select(i => (byte)i)])))];

    public static IReadOnlyList<byte[]> Diameter { get; } = [.. Messages().Select(m => m.ToArray())];

    public static IReadOnlyList<byte[]> Avps { get; } = [.. Messages().SelectMany(m => m.Avps).Select(a => new AvpList([a]).ToArray())];

    public static IReadOnlyList<byte[]> GatewayRecords { get; } =
    [
        Engine.Gateway.BindingRecord.Write(
            new MobileNodeBindings
            {
                HomeAddress = Alice, Supplier = IPAddress.Parse("10.0.3.2"), Nai = "alice@home.example", Guard = default(IdentificationGuard).Accept(7),
                Bindings = AllProfiles().Take(2).Select((p, i) => new CorrespondentBinding(p with { ProfileNumber = (uint)i }, Alice, TimeSpan.FromSeconds(600), DateTimeOffset.UnixEpoch, 7, false)).ToDictionary(b => b.Profile.ProfileNumber),
            },
            new VpnProfileAvps(DiameterDictionary.Default), new KeyMaterial([.. Enumerable.Range(0, 32).Select(i => (byte)i)])),
    ];

    public static IReadOnlyList<byte[]> HomeAgentRecords { get; } =
    [
        Engine.MobileIpv4.Agents.BindingRecord.Write(
            new Binding
            {
                Session = "s;1", Nai = "alice@home.example", HomeAddress = Alice, CareOfAddress = IPAddress.Parse("10.0.1.2"), Expires = DateTimeOffset.UnixEpoch,
                Replay = new IdentificationGuard(7), Profiles = [.. AllProfiles()], MobileNode = new MobilityAssociation(0x300, new KeyMaterial(new byte[32])),
            },
            new VpnProfileAvps(DiameterDictionary.Default)),
    ];

    public static void MendIpv4(Memory<byte> packet)
    {
        var octets = packet.Span;
        if (octets.Length < 20 || octets[0] >> 4 != 4)
        {
            return;
        }

        BinaryPrimitives.WriteUInt16BigEndian(octets[2..], (ushort)octets.Length);
        var length = Math.Clamp((octets[0] & 15) * 4, 20, octets.Length & ~3);
        octets[0] = (byte)(0x40 | (Math.Min(length, 60) / 4));
        IPv4Header.WriteChecksum(octets[..Math.Min(length, 60)]);
    }

    public static void MendIpv6(Memory<byte> packet)
    {
        if (packet.Length >= 40 && packet.Span[0] >> 4 == 6)
        {
            BinaryPrimitives.WriteUInt16BigEndian(packet.Span[4..], (ushort)(packet.Length - 40));
        }
    }

    public static void MendIcmp(Memory<byte> message)
    {
        if (message.Length >= 8)
        {
            message.Span[2] = message.Span[3] = 0;
            BinaryPrimitives.WriteUInt16BigEndian(message.Span[2..], InternetChecksum.Of(message.Span));
        }
    }

    public static void MendDiameter(Memory<byte> message)
    {
        if (message.Length >= 20)
        {
            message.Span[0] = 1;
            message.Span[1] = (byte)(message.Length >> 16);
            BinaryPrimitives.WriteUInt16BigEndian(message.Span[2..], (ushort)message.Length);
        }
    }

    private static IEnumerable<VpnProfile> AllProfiles()
    {
        var secret = new KeyMaterial([.. Enumerable.Range(1, 32).Select(i => (byte)i)]);
        var keys = new AssociationKeys(secret, secret);
        foreach (var keying in (ProfileKeying[])[ProfileKeying.Preset.Instance, new ProfileKeying.Derived(secret, 0xE8C1223344556677), new ProfileKeying.Contract(keys, keys)])
        {
            yield return new VpnProfile
            {
                ProfileNumber = 7,
                View = ProfileView.Up,
                Source = new IPNetwork(Alice, 32),
                Destination = IPNetwork.Parse("192.168.50.0/24"),
                UpTos = 0xB8,
                DownTos = 0x28,
                SecurityType = SecurityType.Esp,
                SourceGateway = IPAddress.Parse("10.0.1.2"),
                DestinationGateway = IPAddress.Parse("10.0.3.2"),
                GatewayType = GatewayType.Dynamic,
                UpSpi = 0x10000100,
                DownSpi = 0x10000200,
                Algorithm = keying is ProfileKeying.Contract ? IpsecAlgorithm.Aes256CbcHmacSha256 : IpsecAlgorithm.Aes128Gcm16,
                Keying = keying,
                Revision = 3,
                KeyExpiry = new DateTimeOffset(2026, 11, 21, 0, 0, 0, TimeSpan.Zero),
                Supplier = IPAddress.Parse("10.0.3.2"),
            };
        }
    }

    private static IEnumerable<DiameterMessage> Messages()
    {
        var dictionary = DiameterDictionary.Default;
        var registration = new RegistrationRequest
        {
            Flags = RegistrationFlags.ReverseTunnel,
            Lifetime = 600,
            HomeAddress = Alice,
            HomeAgent = IPAddress.Parse("10.0.3.2"),
            CareOfAddress = IPAddress.Parse("10.0.1.2"),
            Identification = 0xE8C1223344556677,
        }.With(new NaiExtension("alice@home.example")).With(new ChallengeExtension(new byte[16])).Sign(AuthenticationKind.MobileAaa, new MobilityAssociation(0x200, new KeyMaterial(new byte[32])));
        var request = registration.ToArray();
        var proof = MnAaaAuthentication.TryLocate(registration, out var located) ? located : throw new InvalidOperationException("the sample request has no MN-AAA authentication");
        var profiles = new VpnProfileAvps(dictionary);
        var kek = new KeyMaterial([.. Enumerable.Range(0, 32).Select(i => (byte)i)]);
        yield return dictionary.Request(DiameterCommands.AaMobileNode)
            .Add(AvpKeys.SessionId, "fa1.visited.example;1;1").Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4).Add(AvpKeys.UserName, "alice@home.example")
            .Add(AvpKeys.DestinationRealm, "home.example").Add(AvpKeys.OriginHost, "fa1.visited.example").Add(AvpKeys.OriginRealm, "visited.example")
            .Add(AvpKeys.MipRegRequest, request)
            .AddGroup(AvpKeys.MipMnAaaAuth, g => g.Add(AvpKeys.MipMnAaaSpi, proof.Spi).Add(AvpKeys.MipAuthInputDataLength, proof.InputDataLength).Add(AvpKeys.MipAuthenticatorLength, proof.AuthenticatorLength).Add(AvpKeys.MipAuthenticatorOffset, proof.AuthenticatorOffset))
            .Add(AvpKeys.MipFaChallenge, new byte[16])
            .Add(AvpKeys.MipMobileNodeAddress, Alice).Add(AvpKeys.MipFeatureVector, 64).Add(VpnAvpKeys.Default.PreviousFaAddress, IPAddress.Parse("10.0.1.2")).Build();
        yield return dictionary.Request(DiameterCommands.HomeAgentMip)
            .Add(AvpKeys.SessionId, "aaah.home.example;9;1").Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4).Add(AvpKeys.AuthorizationLifetime, 3600).Add(AvpKeys.AuthSessionState, 0)
            .Add(AvpKeys.MipRegRequest, request).Add(AvpKeys.OriginHost, "aaah.home.example").Add(AvpKeys.OriginRealm, "home.example").Add(AvpKeys.UserName, "alice@home.example")
            .Add(AvpKeys.DestinationRealm, "home.example").Add(AvpKeys.DestinationHost, "ha.home.example").Add(AvpKeys.MipFeatureVector, 0).Add(AvpKeys.AcctMultiSessionId, "s;1")
            .Add(profiles.WriteAll([.. AllProfiles()], kek)).Build();
        var str = dictionary.Request(DiameterCommands.SessionTermination, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.SessionId, "fa1.visited.example;1;1").Add(AvpKeys.OriginHost, "fa1.visited.example").Add(AvpKeys.OriginRealm, "visited.example")
            .Add(AvpKeys.DestinationRealm, "home.example").Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4).Add(AvpKeys.TerminationCause, 1).Build();
        yield return str;
        yield return new AccountingMessages(dictionary).Write(
            new AccountingRecord
            {
                Session = "fa1.visited.example;1;2",
                Number = 3,
                Type = AccountingRecordType.Interim,
                MobilitySession = "aaah.home.example;9;1;alice@home.example",
                Nai = "alice@home.example",
                HomeAddress = Alice,
                HomeAgent = IPAddress.Parse("10.0.3.2"),
                At = new DateTimeOffset(2026, 11, 21, 4, 0, 0, TimeSpan.Zero),
                SessionTime = 600,
                Total = new UsageFigures(3, 300, 4, 4000),
                Profiles = [new ProfileUsage(7, 184, 40, 2, new UsageFigures(2, 200, 3, 3000)), new ProfileUsage(0, 0, 0, 0, new UsageFigures(1, 100, 1, 1000))],
            },
            "fa1.visited.example", "visited.example");
        yield return dictionary.Answer(str, DiameterResult.Success).Add(AvpKeys.OriginHost, "aaah.home.example").Add(AvpKeys.OriginRealm, "home.example").Build();
    }

    private static byte[] UdpOf(byte[] payload)
    {
        var datagram = new byte[8 + payload.Length];
        payload.CopyTo(datagram, 8);
        UdpHeader.Write(datagram, 434, 434);
        return datagram;
    }

    private static byte[] Echo(byte type, byte code)
    {
        var message = new byte[64];
        IcmpMessage.WriteIPv4(message, type, code, 0x00070001);
        return message;
    }

    private static byte[] Ah0(int headerLength, int payload)
    {
        var octets = new byte[headerLength + payload];
        AhHeader.Write(octets, 4, headerLength, 0x1001, 1);
        return octets;
    }

    private static byte[] Ipv4Of(byte protocol, byte[] payload, byte[] options)
    {
        var packet = new byte[20 + options.Length + payload.Length];
        packet[0] = (byte)(0x40 | ((20 + options.Length) / 4));
        packet[8] = 64;
        packet[9] = protocol;
        (packet[12], packet[15], packet[16], packet[19]) = (10, 1, 10, 2);
        options.CopyTo(packet, 20);
        payload.CopyTo(packet, 20 + options.Length);
        MendIpv4(packet);
        return packet;
    }

    private static byte[] Ipv6Of(byte next, byte[] payload)
    {
        var packet = new byte[40 + payload.Length];
        packet[0] = 0x60;
        packet[6] = next;
        packet[7] = 64;
        (packet[8], packet[23], packet[24], packet[39]) = (0xfd, 1, 0xfd, 2);
        payload.CopyTo(packet, 40);
        MendIpv6(packet);
        return packet;
    }
}
