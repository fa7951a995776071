using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;

namespace Sojourn.DataPath.Xfrm;

/// <summary>Octets of the kernel's IPsec messages (linux/xfrm.h): fixed structures by their offsets, host byte order but for what is on the wire too.</summary>
internal static class XfrmFormat
{
    public const ushort NewState = 0x10, DeleteState = 0x11, GetState = 0x12, DeletePolicy = 0x14, GetPolicy = 0x15, Acquire = 0x17, Expire = 0x18, UpdatePolicy = 0x19, UpdateState = 0x1a;

    public const uint GroupAcquire = 1, GroupExpire = 2, GroupState = 4;
    public const ushort AttributeLastUsed = 15;

    public const int StateLength = 224, StateIdLength = 24, PolicyLength = 168, PolicyIdLength = 64, TemplateLength = 64;
    private const int SelectorLength = 56, AddressLength = 16, NameLength = 64;

    // Attributes.
    private const ushort AlgorithmCipher = 2, AttributeEncapsulation = 4, AttributeTemplate = 5, AttributeState = 6, AlgorithmAead = 18, AlgorithmAuthentication = 20, AttributeMark = 21,
        AttributeReplay = 23, AttributeSetMark = 29, AttributeSetMarkMask = 30;

    private const byte TunnelMode = 1;
    private const byte FlagAnyFamily = 32, FlagAlign4 = 64, FlagExtended = 128;
    private const ushort EspInUdp = 2;
    private const int IcvBits = 128, ReplayHeader = 24;

    /// <summary>The widest window the kernel keeps, in packets.</summary>
    private const int WidestWindow = 4096;

    private const ulong Unlimited = ulong.MaxValue;

    /// <summary>Why the kernel has no such association; null = it has.</summary>
    public static string? Lacks(SecurityType protocol, SaParameters association) => (association.Algorithm, protocol) switch
    {
        (_, SecurityType.Esp) => null,
        (IpsecAlgorithm.HmacSha256, SecurityType.Ah) => null,
        _ => $"the kernel has no {association.Algorithm} for {protocol}",
    };

    /// <summary>A request that adds an association, or changes its limits.</summary>
    public static NetlinkRequest WriteState(XfrmState state, bool update)
    {
        var association = state.Parameters;
        var request = new NetlinkRequest(update ? UpdateState : NewState, NetlinkRequest.Acknowledge | NetlinkRequest.Create | NetlinkRequest.Exclusive);
        var info = request.Header(StateLength);
        WriteAddress(info[56..], association.Destination);
        BinaryPrimitives.WriteUInt32BigEndian(info[72..], association.Spi);
        info[76] = Number(state.Protocol);
        WriteAddress(info[80..], association.Source);
        WriteLimits(info[96..160], association.Lifetime, state);
        MemoryMarshal.Write(info[208..], state.RequestId);
        MemoryMarshal.Write(info[212..], FamilyOf(association.Source));
        info[214] = TunnelMode;
        // AH over IPv4 as in RFC 4302, whose header the kernel rounds up to 8 octets unless told otherwise.
        info[216] = (byte)(FlagAnyFamily | (association.ExtendedSequence ? FlagExtended : 0)
            | (state.Protocol == SecurityType.Ah && association.Source.AddressFamily == AddressFamily.InterNetwork ? FlagAlign4 : 0));
        WriteAlgorithms(request, state.Protocol, association);
        WriteReplay(request, state);
        if (state.Udp is { } udp)
        {
            Span<byte> encapsulation = stackalloc byte[24];
            encapsulation.Clear();
            MemoryMarshal.Write(encapsulation, EspInUdp);
            BinaryPrimitives.WriteUInt16BigEndian(encapsulation[2..], udp.Source);
            BinaryPrimitives.WriteUInt16BigEndian(encapsulation[4..], udp.Destination);
            request.Attribute(AttributeEncapsulation, encapsulation);
        }

        return request.Attribute(AttributeSetMark, state.Mark).Attribute(AttributeSetMarkMask, uint.MaxValue);
    }

    /// <summary>A request that names one association.</summary>
    public static NetlinkRequest WriteStateId(ushort type, XfrmStateKey key)
    {
        var request = new NetlinkRequest(type, type == GetState ? (ushort)0 : NetlinkRequest.Acknowledge);
        var id = request.Header(StateIdLength);
        WriteAddress(id, key.Destination);
        BinaryPrimitives.WriteUInt32BigEndian(id[16..], key.Spi);
        MemoryMarshal.Write(id[20..], FamilyOf(key.Destination));
        id[22] = Number(key.Protocol);
        return request;
    }

    /// <summary>A request that sets a policy, or replaces the one of that name.</summary>
    public static NetlinkRequest WritePolicy(XfrmPolicy policy)
    {
        var request = new NetlinkRequest(UpdatePolicy, NetlinkRequest.Acknowledge | NetlinkRequest.Create | NetlinkRequest.Replace);
        var info = request.Header(PolicyLength);
        WriteSelector(info, policy.Key);
        WriteLimits(info[56..120], SaLifetime.Unlimited, null);
        MemoryMarshal.Write(info[152..], policy.Priority);
        info[160] = (byte)policy.Key.Direction;
        info[161] = policy.Blocks ? (byte)1 : (byte)0;
        if (policy.Template is { } wanted)
        {
            Span<byte> template = stackalloc byte[TemplateLength];
            template.Clear();
            WriteAddress(template, wanted.Destination);
            BinaryPrimitives.WriteUInt32BigEndian(template[16..], wanted.Spi);
            template[20] = Number(wanted.Protocol);
            MemoryMarshal.Write(template[24..], FamilyOf(wanted.Destination));
            WriteAddress(template[28..], wanted.Source);
            MemoryMarshal.Write(template[44..], wanted.RequestId);
            template[48] = TunnelMode;
            template[52..64].Fill(0xFF);
            request.Attribute(AttributeTemplate, template);
        }

        return WriteMark(request, policy.Key.Mark);
    }

    public static NetlinkRequest WritePolicyId(XfrmPolicyKey key)
    {
        var request = new NetlinkRequest(DeletePolicy, NetlinkRequest.Acknowledge);
        var id = request.Header(PolicyIdLength);
        WriteSelector(id, key);
        id[60] = (byte)key.Direction;
        return WriteMark(request, key.Mark);
    }

    /// <summary>A message that describes a state; null for one that is no association in ESP or AH.</summary>
    public static XfrmStateReport? ParseState(ReadOnlySpan<byte> body) => body.Length < StateLength ? null : ParseState(body, new AttributeReader(body[StateLength..]));

    /// <summary>A notice that a state was removed, with how it stood at its end; null for one that is no association in ESP or AH.</summary>
    public static XfrmStateReport? ParseRemoved(ReadOnlySpan<byte> body)
    {
        var attributes = new AttributeReader(body.Length < StateIdLength ? [] : body[StateIdLength..]);
        var rest = attributes;
        while (attributes.Next())
        {
            if (attributes.Type == AttributeState && attributes.Value.Length >= StateLength)
            {
                return ParseState(attributes.Value, rest);
            }
        }

        return null;
    }

    private static XfrmStateReport? ParseState(ReadOnlySpan<byte> body, AttributeReader attributes)
    {
        if (ProtocolOf(body[76]) is not { } protocol)
        {
            return null;
        }

        ulong sequence = 0;
        DateTimeOffset? lastUse = null;
        uint[] window = [];
        while (attributes.Next())
        {
            if (attributes.Type == AttributeReplay && attributes.Value.Length >= ReplayHeader)
            {
                var numbers = MemoryMarshal.Cast<byte, uint>(attributes.Value);
                sequence = Math.Max(((ulong)numbers[3] << 32) | numbers[1], ((ulong)numbers[4] << 32) | numbers[2]);
                window = numbers[(ReplayHeader / 4)..].ToArray();
            }
            else if (attributes.Type == AttributeLastUsed && attributes.Value.Length >= 8 && MemoryMarshal.Read<long>(attributes.Value) is > 0 and var seconds)
            {
                lastUse = DateTimeOffset.FromUnixTimeSeconds(seconds);
            }
        }

        var family = MemoryMarshal.Read<ushort>(body[212..]);
        return new XfrmStateReport(
            new XfrmStateKey(protocol, BinaryPrimitives.ReadUInt32BigEndian(body[72..]), ReadAddress(body[56..], family)), ReadAddress(body[80..], family), MemoryMarshal.Read<uint>(body[208..]),
            new XfrmCounts(
                MemoryMarshal.Read<ulong>(body[168..]), MemoryMarshal.Read<ulong>(body[160..]), MemoryMarshal.Read<uint>(body[200..]),
                MemoryMarshal.Read<uint>(body[192..]) + (long)MemoryMarshal.Read<uint>(body[196..])),
            sequence, lastUse, window);
    }

    /// <summary>A notice that a limit was reached (struct xfrm_user_expire).</summary>
    public static XfrmExpired? ParseExpired(ReadOnlySpan<byte> body) =>
        body.Length > StateLength && ParseState(body) is { } state ? new XfrmExpired(state, body[StateLength] != 0) : null;

    /// <summary>A notice that an association is wanted (struct xfrm_user_acquire): the request of the first template.</summary>
    public static XfrmAcquired? ParseAcquired(ReadOnlySpan<byte> body)
    {
        const int fixedLength = 280;
        if (body.Length < fixedLength)
        {
            return null;
        }

        var attributes = new AttributeReader(body[fixedLength..]);
        while (attributes.Next())
        {
            if (attributes.Type == AttributeTemplate && attributes.Value.Length >= TemplateLength)
            {
                return new XfrmAcquired(MemoryMarshal.Read<uint>(attributes.Value[44..]));
            }
        }

        return null;
    }

    /// <summary>A message that describes a policy: its name and priority; null for one of a socket.</summary>
    public static (XfrmPolicyKey Key, uint Priority)? ParsePolicy(ReadOnlySpan<byte> body)
    {
        if (body.Length < PolicyLength || body[160] > (byte)XfrmDirection.Forward)
        {
            return null;
        }

        var family = MemoryMarshal.Read<ushort>(body[40..]);
        uint mark = 0;
        var attributes = new AttributeReader(body[PolicyLength..]);
        while (attributes.Next())
        {
            mark = attributes.Type == AttributeMark ? attributes.UInt32 : mark;
        }

        return (new XfrmPolicyKey((XfrmDirection)body[160], new IPNetwork(ReadAddress(body[16..], family), body[43]), new IPNetwork(ReadAddress(body, family), body[42]), mark),
            MemoryMarshal.Read<uint>(body[152..]));
    }

    private static void WriteSelector(Span<byte> selector, XfrmPolicyKey key)
    {
        WriteAddress(selector, key.Destination.BaseAddress);
        WriteAddress(selector[16..], key.Source.BaseAddress);
        MemoryMarshal.Write(selector[40..], FamilyOf(key.Source.BaseAddress));
        selector[42] = (byte)key.Destination.PrefixLength;
        selector[43] = (byte)key.Source.PrefixLength;
    }

    private static NetlinkRequest WriteMark(NetlinkRequest request, uint mark) =>
        mark == 0 ? request : request.Attribute(AttributeMark, ((ulong)uint.MaxValue << 32) | mark);

    /// <param name="state">Null for a policy.</param>
    private static void WriteLimits(Span<byte> limits, SaLifetime lifetime, XfrmState? state)
    {
        var values = MemoryMarshal.Cast<byte, ulong>(limits);
        var before = state?.Before ?? default;
        values[0] = Soft(lifetime.SoftBytes, before.Bytes);
        values[1] = Hard(lifetime.HardBytes, before.Bytes);
        values[2] = Soft(lifetime.SoftPackets, before.Packets);
        values[3] = Math.Min(Hard(lifetime.HardPackets, before.Packets), state?.MostPackets ?? Unlimited);
        // Here 0 means without end.
        values[4] = Seconds(lifetime.SoftTime);
        values[5] = Seconds(lifetime.HardTime);

        // A soft limit that lies behind has been told.
        static ulong Soft(ulong? limit, ulong before) => limit > before ? limit.Value - before : Unlimited;
        static ulong Hard(ulong? limit, ulong before) => limit is { } end ? end - Math.Min(end, before) : Unlimited;
        ulong Seconds(DateTimeOffset? end) => end is { } time && state is not null ? (ulong)Math.Max(1, Math.Ceiling((time - state.Added).TotalSeconds)) : 0;
    }

    private static void WriteReplay(NetlinkRequest request, XfrmState state)
    {
        var association = state.Parameters;
        // The kernel wants a window with extended numbers, whoever sends.
        var width = state.Outbound ? 32 : Math.Clamp(association.ReplayWindow, association.ExtendedSequence ? 32 : 0, WidestWindow);
        var words = (width + 31) / 32;
        Span<uint> replay = stackalloc uint[(ReplayHeader / 4) + words];
        replay.Clear();
        replay[0] = (uint)words;
        replay[state.Outbound ? 1 : 2] = (uint)state.Sequence;
        replay[state.Outbound ? 3 : 4] = (uint)(state.Sequence >> 32);
        replay[5] = (uint)width;
        if (!state.Outbound && state.Sequence > 0)
        {
            // Without better knowledge whatever lies in the window of an association that comes back counts as taken.
            var taken = replay[(ReplayHeader / 4)..];
            taken.Fill(uint.MaxValue);
            if (state.Window is { } window && window.Count == words)
            {
                window.ToArray().CopyTo(taken);
            }
        }

        request.Attribute(AttributeReplay, MemoryMarshal.AsBytes(replay));
    }

    private static void WriteAlgorithms(NetlinkRequest request, SecurityType protocol, SaParameters association)
    {
        var keys = association.Keys;
        switch (association.Algorithm)
        {
            case IpsecAlgorithm.Aes128Gcm16 or IpsecAlgorithm.Aes256Gcm16:
                WriteAlgorithm(request, AlgorithmAead, "rfc4106(gcm(aes))", keys.Encryption, IcvBits);
                break;
            case IpsecAlgorithm.Aes128Gmac or IpsecAlgorithm.Aes256Gmac:
                WriteAlgorithm(request, AlgorithmAead, "rfc4543(gcm(aes))", keys.Encryption, IcvBits);
                break;
            case IpsecAlgorithm.ChaCha20Poly1305:
                WriteAlgorithm(request, AlgorithmAead, "rfc7539esp(chacha20,poly1305)", keys.Encryption, IcvBits);
                break;
            case IpsecAlgorithm.HmacSha256:
                WriteAlgorithm(request, AlgorithmAuthentication, "hmac(sha256)", keys.Authentication, IcvBits);

                // ESP wants a cipher all the same, and AH takes none.
                if (protocol == SecurityType.Esp)
                {
                    WriteAlgorithm(request, AlgorithmCipher, "ecb(cipher_null)", keys.Encryption, null);
                }

                break;
            default:
                WriteAlgorithm(request, AlgorithmAuthentication, "hmac(sha256)", keys.Authentication, IcvBits);
                WriteAlgorithm(request, AlgorithmCipher, "cbc(aes)", keys.Encryption, null);
                break;
        }
    }

    /// <param name="icv">Bits of the integrity check value; null for an algorithm without one.</param>
    private static void WriteAlgorithm(NetlinkRequest request, ushort attribute, string name, KeyMaterial key, int? icv)
    {
        var fixedLength = NameLength + (icv is null ? 4 : 8);
        Span<byte> algorithm = stackalloc byte[fixedLength + key.Length];
        algorithm.Clear();
        Encoding.ASCII.GetBytes(name, algorithm);
        MemoryMarshal.Write(algorithm[NameLength..], key.Length * 8);
        if (icv is { } bits)
        {
            MemoryMarshal.Write(algorithm[(NameLength + 4)..], bits);
        }

        key.Octets.CopyTo(algorithm[fixedLength..]);
        request.Attribute(attribute, algorithm);
        algorithm.Clear();
    }

    private static byte Number(SecurityType protocol) => protocol == SecurityType.Ah ? (byte)51 : (byte)50;

    private static SecurityType? ProtocolOf(byte number) => number switch { 50 => SecurityType.Esp, 51 => SecurityType.Ah, _ => null };

    private static ushort FamilyOf(IPAddress address) => (ushort)(address.AddressFamily == AddressFamily.InterNetworkV6 ? Libc.AF_INET6 : Libc.AF_INET);

    private static void WriteAddress(Span<byte> to, IPAddress address) => address.TryWriteBytes(to[..AddressLength], out _);

    private static IPAddress ReadAddress(ReadOnlySpan<byte> from, ushort family) => new(from[..(family == Libc.AF_INET6 ? AddressLength : 4)]);
}
