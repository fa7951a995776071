using System.Buffers.Binary;
using System.Net;
using Sojourn.Engine;
using Sojourn.Engine.Aaa;
using Sojourn.Wire.Dhcpv6;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Ipsec;
using Sojourn.Wire.MobileIpv4;
using Sojourn.Wire.Tcp;
using Sojourn.Wire.Tests.MobileIpv4;
using Sojourn.Wire.Udp;

namespace Sojourn.Fuzz;

/// <summary>Every codec that reads octets of strangers.</summary>
internal static partial class FuzzTargets
{
    private static readonly Engine.Accounting.AccountingMessages Accounting = new(DiameterDictionary.Default);

    private static readonly byte[] Peer4 = [192, 0, 2, 1];
    private static readonly byte[] Peer6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    private static readonly DiameterValidator Strict = new(DiameterDictionary.Default, DiameterLimits.Default);
    private static readonly DiameterValidator Lenient = new(DiameterDictionary.Default, DiameterLimits.Default, lenient: true);
    private static readonly VpnProfileAvps Profiles = new(DiameterDictionary.Default);
    private static readonly VpnAvpKeys Keys = VpnAvpKeys.Default;
    private static readonly KeyMaterial Kek = new([.. Enumerable.Range(0, 32).Select(i => (byte)i)]);

    [ThreadStatic]
    private static byte[]? _scratch;

    public static IReadOnlyList<FuzzTarget> All { get; } = [.. Ip(), .. Transport(), .. Ipsec(), .. MobileIp(), .. Diameter(), .. Aaa(), .. Records(), .. Ikev2FuzzTargets.All, .. Cmp(), .. Revocation(), .. MobileIpv6FuzzTargets.All, .. RadiusFuzzTargets.All, .. Dhcp(), .. DnsFuzzTargets.All, .. TranslationFuzzTargets.All];

    private static byte[] Scratch => _scratch ??= new byte[128 * 1024];

    private static IEnumerable<FuzzTarget> Ip()
    {
        yield return new FuzzTarget("ipv4", ["IPv4Header.TryParse"], Corpus.Ipv4, input =>
        {
            if (!IPv4Header.TryParse(input.Span, out var header, out _))
            {
                return false;
            }

            var walk = new IPv4OptionWalk(header.Options);
            var seen = 0;
            while (walk.MoveNext())
            {
                seen += walk.Current.Length;
            }

            Require(seen <= header.Options.Length, "options longer than the header");
            _ = header.ChecksumIsRight;
            var fragmenter = new IPv4Fragmenter(header, 576);
            var total = 0;
            while (fragmenter.Next(Scratch) is > 0 and var length)
            {
                if (length > 576 || !IPv4Header.TryParse(Scratch.AsSpan(0, length), out var fragment, out _) || !fragment.ChecksumIsRight)
                {
                    throw new FuzzFailure("a fragment is no packet");
                }

                Require(fragment.FragmentOffset == header.FragmentOffset + total, "a fragment lies elsewhere");
                total += fragment.Payload.Length;
                Require(fragment.MoreFragments == (header.MoreFragments || total < header.Payload.Length), "the last fragment is not marked so");
            }

            Require(total == 0 || total == header.Payload.Length, "fragments do not add up");
            MutableFields.ClearIPv4(Copied(header.Packet)[..header.HeaderLength]);
            return true;
        })
        { Mend = Corpus.MendIpv4 };
        yield return new FuzzTarget("ipv6", ["IPv6Header.TryParse", "IPv6ExtensionWalk.TryFindUpper"], Corpus.Ipv6, input =>
        {
            if (!IPv6Header.TryParse(input.Span, out var header, out _))
            {
                return false;
            }

            if (IPv6ExtensionWalk.TryFindUpper(header, out var upper))
            {
                Require(upper.UpperOffset <= header.Packet.Length, "the upper protocol lies beyond the packet");
                MutableFields.ClearIPv6(Copied(header.Packet), upper.UpperOffset);
            }

            var (written, count) = IPv6Fragmenter.Cut(header.Packet, 1280, 7, Scratch);
            Require(written >= 0 && count >= 0 && written <= Scratch.Length, "fragments out of bounds");
            return true;
        })
        { Mend = Corpus.MendIpv6 };
        yield return new FuzzTarget("ip-packet", ["IpPacket.TryParse"], [.. Corpus.Ipv4, .. Corpus.Ipv6], input =>
        {
            if (!IpPacket.TryParse(input.Span, out var packet, out _))
            {
                return false;
            }

            _ = packet.Payload.Length + packet.TrafficClass + packet.HopLimit + packet.NextHeader;
            if (IcmpError.MayAnswer(packet))
            {
                var written = IcmpError.WriteTooBig(packet, packet.IsIPv6 ? Peer6 : Peer4, 1280, Scratch);
                Require(IpPacket.TryParse(Scratch.AsSpan(0, written), out _, out _), "the ICMP error is no packet");
            }

            return true;
        })
        { Mend = m => { Corpus.MendIpv4(m); Corpus.MendIpv6(m); } };
        yield return new FuzzTarget("segments", ["Segmentation.TryFind"], [.. Corpus.Ipv4, .. Corpus.Ipv6, .. Corpus.Tunnelled], input =>
        {
            if (!Segmentation.TryFind(input.Span, out var transport, out var payload, out _))
            {
                return false;
            }

            Require(transport < payload && payload <= input.Length, "the transport header lies beyond the packet");
            return true;
        })
        {
            Mend = m => { Corpus.MendIpv4(m); Corpus.MendIpv6(m); },
            Holds = input =>
            {
                const int Size = 50;
                _ = Segmentation.TryFind(input.Span, out var transport, out var payload, out var protocol);
                var segments = Segmentation.Cut(input, Size);
                Require(segments.Count == Math.Max(1, (input.Length - payload + Size - 1) / Size), "too many segments or too few");
                Require(segments.SelectMany(s => s[payload..].ToArray()).SequenceEqual(input[payload..].ToArray()), "what is carried has changed");
                Require(segments.All(s => Segmentation.TryFind(s.Span, out var there, out var behind, out var found) && (there, behind, found) == (transport, payload, protocol)), "a segment is no packet of its kind");
            },
        };
        yield return new FuzzTarget("carried-packet", ["CarriedPacket.TryParse"], [.. Corpus.Ipv6.Select(packet => (byte[])[(byte)(packet.Length >> 8), (byte)packet.Length, .. packet])], input =>
        {
            if (!CarriedPacket.TryParse(input.Span, out var next, out _))
            {
                return false;
            }

            Require(next.FrameLength <= input.Length && next.FrameLength == (next.Packet.IsEmpty ? 0 : CarriedPacket.PrefixLength + next.Packet.Length), "a frame longer than the stream");
            Require(next.FrameLength == 0 || Scratch.AsSpan(0, CarriedPacket.Write(Scratch, next.Packet)).SequenceEqual(input.Span[..next.FrameLength]), "the frame is another when it is written");
            return true;
        });
    }

    private static IEnumerable<FuzzTarget> Transport()
    {
        yield return new FuzzTarget("udp", ["UdpHeader.TryParse"], Corpus.Udp, input =>
        {
            if (!UdpHeader.TryParse(input.Span, out var udp, out _))
            {
                return false;
            }

            _ = udp.ChecksumIsRight(Peer4, Peer4);
            return udp.Payload.Length >= 0;
        });
        yield return new FuzzTarget("tcp", ["TcpHeader.TryParse"], Corpus.Tcp, input =>
        {
            if (!TcpHeader.TryParse(input.Span, out var tcp, out _))
            {
                return false;
            }

            if (tcp.Flags.HasFlag(TcpFlags.Syn) && tcp.TryFindMaximumSegmentSize(out _, out var size) && size > 536)
            {
                var clamped = Copied(input.Span);
                TcpHeader.ClampMaximumSegmentSize(clamped, 536);
                Require(TcpHeader.TryParse(clamped, out var after, out _) && after.TryFindMaximumSegmentSize(out _, out var less) && less <= 536, "the segment size was not clamped");
            }

            return tcp.Payload.Length + tcp.Options.Length >= 0;
        });
        yield return new FuzzTarget("icmp", ["IcmpMessage.TryParse"], Corpus.Icmp, input =>
        {
            if (!IcmpMessage.TryParse(input.Span, out var icmp, out _))
            {
                return false;
            }

            _ = icmp.ChecksumIsRight | icmp.ChecksumIsRightIPv6(Peer6, Peer6);
            return icmp.Body.Length + icmp.NextHopMtuIPv4 + icmp.Identifier + icmp.SequenceNumber >= 0;
        });
    }

    private static IEnumerable<FuzzTarget> Ipsec()
    {
        yield return new FuzzTarget("esp", ["EspHeader.TryParse"], Corpus.Esp, input =>
            EspHeader.TryParse(input.Span, out var esp, out _) && esp.Body.Length + esp.Spi + esp.SequenceNumber >= 0 && EspInUdp.Classify(input.Span) >= 0);
        yield return new FuzzTarget("esp-trailer", ["EspTrailer.TryParse"], Corpus.EspTrailer, input =>
        {
            if (!EspTrailer.TryParse(input.Span, out var payload, out _, out _))
            {
                return false;
            }

            Require(payload >= 0 && payload <= input.Length - EspTrailer.FixedLength, "the payload is longer than the packet");
            return true;
        });
        yield return new FuzzTarget("ah", ["AhHeader.TryParse"], Corpus.Ah, input =>
            AhHeader.TryParse(input.Span, out var ah, out _) && ah.IcvAndPadding.Length + ah.Payload.Length + ah.NextHeader >= 0);
    }

    private static IEnumerable<FuzzTarget> MobileIp()
    {
        yield return new FuzzTarget("mobile-ipv4", ["MobileIpMessage.TryParse", "MobileIpMessage.TryParse`1", "ExtensionReader.TryParse", "ProjectExtensions.TryReadPreviousForeignAgent"], Corpus.MobileIp, input =>
        {
            if (!MobileIpMessage.TryParse(input.Span, out var message, out _))
            {
                return false;
            }

            _ = message.Extensions.FirstNotUnderstood;
            foreach (var extension in message.Extensions)
            {
                if (extension is VendorExtension vendor)
                {
                    _ = vendor.TryReadPreviousForeignAgent(out _, out _);
                }
            }

            _ = message.Extensions.ProfileNumbers(ProjectExtensions.DefaultEnterprise);
            _ = message.TryFindAuthentication(AuthenticationKind.MobileHome, out _, out _);
            return true;
        })
        { PerOctet = 160, Allowance = 4096, Holds = input => Same(input, MobileIpMessage.TryParse(input.Span, out var m, out _) ? m.ToArray() : [], o => MobileIpMessage.TryParse(o, out var again, out _) && again.Equals(m)) };
        yield return new FuzzTarget("tunnel-data", ["TunnelDataView.TryParse", "NatKeepalive.TryReadReply"], Corpus.TunnelData, input =>
            TunnelDataView.TryParse(input.Span, out var view, out _) && view.Packet.Length >= 0 && (NatKeepalive.TryReadReply(input.Span, out _, out _) || true));
        yield return new FuzzTarget("agent-advertisement", ["AgentAdvertisement.TryParse"], Corpus.Advertisements, input =>
        {
            if (!AgentAdvertisement.TryParse(input.Span, out var advertisement, out _))
            {
                return false;
            }

            for (var i = 0; i < advertisement.Routers.Count; i++)
            {
                _ = advertisement.PrefixOf(i);
            }

            return advertisement.Challenge is null || advertisement.Mobility is null || advertisement.Length > 0;
        })
        {
            PerOctet = 160,
            Allowance = 4096,
            Mend = Corpus.MendIcmp,
            Holds = input => Same(input, AgentAdvertisement.TryParse(input.Span, out var a, out _) ? a.ToArray() : [], o => AgentAdvertisement.TryParse(o, out var again, out _) && again.Equals(a)),
        };
        yield return new FuzzTarget("agent-solicitation", ["AgentSolicitation.TryParse", "IcmpChecksum.TryCheck"], [new AgentSolicitation().ToArray()], input => AgentSolicitation.TryParse(input.Span, out _, out _)) { Mend = Corpus.MendIcmp };
    }

    private static IEnumerable<FuzzTarget> Diameter()
    {
        yield return new FuzzTarget("diameter-header", ["DiameterHeader.TryParse", "DiameterHeader.TryMeasure"], Corpus.Diameter, input =>
        {
            if (DiameterHeader.TryMeasure(input.Span, DiameterLimits.Default, out var length, out _))
            {
                Require(length <= DiameterLimits.Default.MaximumMessageLength, "longer than the limit");
            }

            return DiameterHeader.TryParse(input.Span, DiameterLimits.Default, out _, out _);
        })
        { Mend = Corpus.MendDiameter };
        yield return new FuzzTarget("diameter-avp", ["Avp.TryParse"], Corpus.Avps, input =>
        {
            if (!Avp.TryParse(input, 0, out var avp, out var consumed, out _))
            {
                return false;
            }

            Require(consumed > 0 && consumed <= input.Length, "consumed more than there is");
            _ = avp!.TryReadUnsigned32(out _) | avp.TryReadUnsigned64(out _) | avp.TryReadAddress(out _) | avp.TryReadTime(out _) | avp.TryReadText(out _) | avp.TryReadIdentity(out _);
            _ = avp.TryReadGroup(DiameterLimits.Default, out _, out _);
            return true;
        })
        { PerOctet = 48, Allowance = 2048 };
        yield return new FuzzTarget("diameter-message", ["DiameterMessage.TryParse"], Corpus.Diameter, input =>
            DiameterMessage.TryParse(input, DiameterLimits.Default, out var message, out Wire.WireError _) && (message.SessionId ?? message.OriginHost ?? message.OriginRealm ?? "").Length >= 0)
        {
            PerOctet = 48,
            Allowance = 4096,
            Mend = Corpus.MendDiameter,
            Holds = input => Same(input, DiameterMessage.TryParse(input, DiameterLimits.Default, out var m, out Wire.WireError _) ? m.ToArray() : [],
                o => DiameterMessage.TryParse(o.ToArray(), DiameterLimits.Default, out var again, out Wire.WireError _) && again.Avps.Count == m!.Avps.Count && again.CommandCode == m.CommandCode),
        };
        yield return new FuzzTarget("diameter-validator", ["DiameterValidator.Validate"], Corpus.Diameter, input =>
        {
            if (!DiameterMessage.TryParse(input, DiameterLimits.Default, out var message, out Wire.WireError _))
            {
                return false;
            }

            return Strict.Validate(message) is null | Lenient.Validate(message) is null;
        })
        { PerOctet = 256, Allowance = 16384, Mend = Corpus.MendDiameter };
    }

    private static IEnumerable<FuzzTarget> Aaa()
    {
        yield return new FuzzTarget("vpn-profile", [], Corpus.StoredProfiles, input => Profiles.TryDecodeFromStore(input, out _, out _))
        {
            PerOctet = 256,
            Allowance = 16384,
            Holds = input =>
            {
                Profiles.TryDecodeFromStore(input, out var profile, out _);
                Require(Profiles.TryDecodeFromStore(Profiles.EncodeForStore(profile!), out var again, out var reason) && again.Equals(profile), "the profile does not come back: " + reason);
            },
        };
        yield return new FuzzTarget("vpn-profile-wrapped", [], Corpus.WrappedProfiles, input => Profiles.TryDecode(input.Span, Kek, out _, out _)) { PerOctet = 320, Allowance = 16384 };
        yield return new FuzzTarget("access-request", [], Corpus.Diameter, input =>
            DiameterMessage.TryParse(input, DiameterLimits.Default, out var message, out Wire.WireError _) && AccessRequest.TryRead(message, Keys, out _, out _))
        { PerOctet = 320, Allowance = 16384, Mend = Corpus.MendDiameter };
        yield return new FuzzTarget("accounting-record", [], Corpus.Diameter, input =>
            DiameterMessage.TryParse(input, DiameterLimits.Default, out var message, out Wire.WireError _) && Accounting.TryRead(message, DateTimeOffset.UnixEpoch, out _, out _))
        { PerOctet = 320, Allowance = 16384, Mend = Corpus.MendDiameter };
    }

    /// <summary>What is read back from disk after a crash, or after somebody meddled with it.</summary>
    private static IEnumerable<FuzzTarget> Records()
    {
        yield return new FuzzTarget("gateway-record", [], Corpus.GatewayRecords, input => Engine.Gateway.BindingRecord.TryRead(input, Profiles, _ => Kek, out _)) { OneOf = 8, PerOctet = 320, Allowance = 16384 };
        yield return new FuzzTarget("home-agent-record", [], Corpus.HomeAgentRecords, input => Engine.MobileIpv4.Agents.BindingRecord.TryRead(input, Profiles, out _, out _)) { OneOf = 8, PerOctet = 320, Allowance = 65536 };
    }

    private static IEnumerable<FuzzTarget> Dhcp()
    {
        yield return new FuzzTarget("dhcpv6-message", ["Dhcpv6Message.TryParse", "Dhcpv6Options.TryParse"], Corpus.Dhcpv6, input =>
            Dhcpv6Message.TryParse(input.Span, out var message, out _) && Seen(message.Options, 0) >= 0 && Dhcpv6MessageRule.Allows(message, true, out _) | true)
        {
            Holds = input =>
            {
                _ = Dhcpv6Message.TryParse(input.Span, out var message, out _);
                var writer = new Dhcpv6Writer(Scratch);
                writer.Message(message.Type, message.TransactionId);
                foreach (var option in message.Options)
                {
                    writer.Option(option);
                }

                Require(writer.Written.SequenceEqual(input.Span), "what was read does not survive being written");
                Require(Dhcpv6Options.TryParse(message.Options.Octets, OptionPlaces.Message, out _, out _), "checked options are refused");
            },
        };
        yield return new FuzzTarget("dhcpv6-relay", ["RelayMessage.TryParse"], Corpus.Dhcpv6Relayed, input =>
            RelayMessage.TryParse(input.Span, out var relay, out _) && relay.LinkAddress.Length + relay.PeerAddress.Length + relay.Relayed.Length + relay.Options.Octets.Length > 32);
        yield return new FuzzTarget("dhcpv6-path", [], Corpus.Dhcpv6Relayed, input =>
        {
            var datagram = new DatagramReceived(new IPEndPoint(IPAddress.IPv6Loopback, 547), new IPEndPoint(IPAddress.IPv6Loopback, 547), input);
            if (!Engine.Dhcpv6.ClientPath.TryRead(datagram, out var path, out var inner, out _))
            {
                return false;
            }

            return path.Answer(inner.Span, Scratch).Payload.Length >= inner.Length;
        })
        { PerOctet = 64, Allowance = 32_768 };
        yield return new FuzzTarget("dhcpv6-duid", ["Duid.TryParse"], [[0, 3, 0, 1, 2, 0, 0, 0, 0, 1], [.. new byte[130]], [0, 1, 0]], input => Duid.TryParse(input.Span, out var duid, out _) && duid.ToString().Length > 3)
        { PerOctet = 16, Allowance = 2048 };

        static int Seen(Dhcpv6Options options, int depth)
        {
            Require(depth < Dhcpv6Limits.Depth, "deeper than the limit");
            var seen = 0;
            foreach (var option in options)
            {
                seen += option.Data.Length;
                if (depth == 0 && option.Code == Dhcpv6OptionCode.PrefixDelegation)
                {
                    var association = new PrefixAssociation(option.Data);
                    seen += Seen(association.Options, depth + 1);
                    if (association.Options.TryFind(Dhcpv6OptionCode.Prefix, out var prefix))
                    {
                        Require(DelegatedPrefix.Read(prefix).Prefix.PrefixLength <= 128, "a prefix longer than an address");
                    }
                }
            }

            return seen;
        }
    }

    internal static void Require(bool holds, string what)
    {
        if (!holds)
        {
            throw new FuzzFailure(what);
        }
    }

    /// <summary>What was read, written again, reads as the same.</summary>
    private static void Same(ReadOnlyMemory<byte> input, byte[] written, Func<byte[], bool> reads)
    {
        if (!input.Span.SequenceEqual(written))
        {
            Require(reads(written), "what was read does not survive being written");
        }
    }

    private static Span<byte> Copied(ReadOnlySpan<byte> octets)
    {
        // Behind what the fragmenters write.
        var copy = Scratch.AsSpan(Scratch.Length - Mutator.MaximumLength, octets.Length);
        octets.CopyTo(copy);
        return copy;
    }
}
