// Readings:
// - A question for A: with a NAT64 the name's own A records are the answer; where it has none, or there is no NAT64, its AAAA
//   records are shown as virtual addresses (TM-R85). An address that a DNS64 made is shown as the IPv4 address in it.
// - A name lives in the host no longer than its entry does without a packet, whatever its time to live.
// - PTR of a virtual address is the name that an application asked for; where none did, what the DNS says of the IPv6 address.
// - An answer that a server had to truncate is asked for again by TCP where addresses are to be shown, or where the host asked by TCP;
//   if no answer comes that way it is used as far as it goes. Who asked something else by UDP gets it with the flag and may ask by TCP.
using System.Diagnostics.CodeAnalysis;
using System.Net;
using Sojourn.Engine.Terminal;
using Sojourn.Wire.Dns;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Tcp;
using Sojourn.Wire.Udp;

namespace Sojourn.Engine.Translation;

/// <summary>
/// The resolver that shows IPv6 names to IPv4 applications (TM-R85, RFC 6535): asked at the last address of the virtual IPv4 pool, it asks name
/// servers from the home address. Keeps no cache. Packets are <see cref="ResolverPacketReceived"/>, <see cref="DeliverToHost"/> and
/// <see cref="SendFromHomeAddress"/>.
/// </summary>
public sealed partial class NameResolver : IEngine
{
    private const uint DnssecOk = 0x8000;

    private static readonly DnsName s_reverse = DnsName.FromText("in-addr.arpa");

    private readonly NameResolverOptions _options;
    private readonly TranslationOptions _translation;
    private readonly TranslationTable _table;
    private readonly IRandomSource _random;
    private readonly Dictionary<ushort, NameQuery> _underWay = [];
    private IReadOnlyList<IPAddress> _servers;
    private DateTimeOffset _now;

    public NameResolver(NameResolverOptions options, TranslationOptions translation, TranslationTable table, IRandomSource random)
    {
        options.Validate();
        (_options, _translation, _table, _random, _servers) = (options, translation, table, random, options.Servers);
    }

    /// <summary>Questions that wait for a server.</summary>
    public int Pending => _underWay.Count;

    public DateTimeOffset? NextDeadline
    {
        get
        {
            DateTimeOffset? next = null;
            foreach (var query in _underWay.Values)
            {
                next = next < query.Due ? next : query.Due;
            }

            var stream = NextStreamDeadline;
            return stream is null || next < stream ? next : stream;
        }
    }

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        _now = now;
        switch (input)
        {
            case ResolverPacketReceived { Packet: var packet } when !packet.IsEmpty && packet.Span[0] >> 4 == 4:
                OnHostPacket(packet.Span, now, effects);
                break;
            case ResolverPacketReceived { Packet: var packet }:
                OnServerPacket(packet.Span, now, effects);
                break;
            case SetNameServers set:
                _servers = set.Servers;
                break;
            case DeadlineReached:
                foreach (var query in _underWay.Values.Where(q => q.Due <= now && q.Truncated is null).ToList())
                {
                    effects.Count("dns.resolver.timeout");
                    TryNext(query, now, effects);
                }

                WakeStreams(now, effects);

                break;
        }
    }

    /// <summary>Whether an IPv6 packet of UDP or TCP is a server's answer to us. Allocates nothing.</summary>
    internal bool Awaits(byte protocol, UInt128 source, ushort sourcePort, ushort destinationPort) =>
        sourcePort == DnsLimits.Port
        && (protocol == IpProtocol.Tcp
            ? _toServers.TryGetValue(destinationPort, out var stream) && AddressBits.Of6(stream.Server) == source
            : _underWay.TryGetValue(destinationPort, out var query) && query.Truncated is null && AddressBits.Of6(query.Server) == source);

    private void OnQuery(NameClient client, ReadOnlySpan<byte> octets, DateTimeOffset now, EffectSink effects)
    {
        if (!DnsMessage.TryParse(octets, out var message, out _) || message.IsResponse)
        {
            effects.Count("dns.resolver.malformed");
            return;
        }

        if (message.Opcode != DnsOpcode.Query || message.Questions is not [var question])
        {
            Answer(client, message, new DnsMessage { Identifier = 0, ResponseCode = message.Opcode == DnsOpcode.Query ? DnsResponseCode.FormatError : DnsResponseCode.NotImplemented }, effects);
            return;
        }

        if (_underWay.Values.Any(q => q.Client.Equals(client) && q.Message.Identifier == message.Identifier && q.Question == question))
        {
            // The host asks again because we are slow; the servers are being asked again as it is.
            effects.Count("dns.resolver.repeated");
            return;
        }

        var asked = question;
        if (question is { Class: DnsClass.Internet, Type: DnsRecordType.A })
        {
            asked = question with { Type = _table.Ipv6Pool is null ? DnsRecordType.AAAA : DnsRecordType.A };
        }
        else if (question is { Class: DnsClass.Internet, Type: DnsRecordType.PTR } && TryReadReverse(question.Name, out var address) && _table.InPool(address))
        {
            var entry = _table.Find(address, now);
            if (entry is null)
            {
                Answer(client, message, new DnsMessage { Identifier = 0, ResponseCode = DnsResponseCode.NameError }, effects);
                return;
            }

            if (entry.Name is { } name)
            {
                Answer(client, message, new DnsMessage { Identifier = 0, Answers = [new DnsRecord(question.Name, DnsRecordType.PTR, DnsClass.Internet, Seconds, new DnsTarget(name))] }, effects);
                return;
            }

            asked = question with { Name = DnsName.OfAddress(entry.Ipv6Address) };
        }

        if (_underWay.Count >= _options.MaximumQueries)
        {
            effects.Count("dns.resolver.busy");
            Answer(client, message, Failure, effects);
            return;
        }

        TryNext(new NameQuery(client, message) { Asked = asked }, now, effects);
    }

    /// <summary>Longest that the host may keep a virtual address, seconds.</summary>
    private uint Seconds => (uint)_translation.Idle.TotalSeconds;

    private static DnsMessage Failure => new() { Identifier = 0, ResponseCode = DnsResponseCode.ServerFailure };

    /// <summary>Asks the next server, with another identifier and port each time, or gives up.</summary>
    private void TryNext(NameQuery query, DateTimeOffset now, EffectSink effects)
    {
        _underWay.Remove(query.Port);
        if (query.Tries >= _servers.Count * _options.Rounds || _table.Find(AddressBits.Of4(query.Client.EndPoint.Address), now) is not { Kind: TranslationKind.Own } home)
        {
            effects.Count("dns.resolver.failed");
            Answer(query.Client, query.Message, Failure, effects);
            return;
        }

        query.Server = _servers[query.Tries % _servers.Count];
        query.Due = now + (_options.FirstTimeout * (1 << (query.Tries / _servers.Count)));
        query.Tries++;
        query.Truncated = null;
        Number(query);
        effects.Emit(new SendFromHomeAddress(WriteUdp(new IPEndPoint(home.Ipv6Address, query.Port), new IPEndPoint(query.Server, DnsLimits.Port), Question(query).ToArray())));
    }

    /// <summary>Gives a query an identifier and a port that nobody can guess (RFC 5452 9.2).</summary>
    private void Number(NameQuery query)
    {
        query.Identifier = (ushort)_random.NextUInt32();
        do
        {
            query.Port = (ushort)(_random.NextUInt32() | 0x8000);
        }
        while (_toServers.ContainsKey(query.Port) || !_underWay.TryAdd(query.Port, query));
    }

    /// <summary>What a server is asked.</summary>
    private static DnsMessage Question(NameQuery query)
    {
        var options = query.Message.Extension is { } extension ? extension.Seconds & DnssecOk : 0;
        return new DnsMessage
        {
            Identifier = query.Identifier,
            Flags = query.Message.Flags & (DnsFlags.RecursionDesired | DnsFlags.CheckingDisabled | DnsFlags.AuthenticData),
            Questions = [query.Asked],
            Additional = [new DnsRecord(DnsName.Root, DnsRecordType.OPT, (DnsClass)NameResolverOptions.PayloadSize, options, new DnsExtensionOptions([]))],
        };
    }

    private void OnServerPacket(ReadOnlySpan<byte> packet, DateTimeOffset now, EffectSink effects)
    {
        if (!IPv6Header.TryParse(packet, out var ip, out _) || !IPv6ExtensionWalk.TryFindUpper(ip, out var upper))
        {
            effects.Count("dns.resolver.malformed");
            return;
        }

        var transport = ip.Packet[upper.UpperOffset..];
        if (upper.UpperProtocol == IpProtocol.Tcp && TcpHeader.TryParse(transport, out var tcp, out _) && tcp.ChecksumIsRight(ip.Source, ip.Destination)
            && Awaits(IpProtocol.Tcp, AddressBits.Of6(ip.Source), tcp.SourcePort, tcp.DestinationPort))
        {
            OnServerSegment(tcp.DestinationPort, tcp, now, effects);
            return;
        }

        if (upper.UpperProtocol != IpProtocol.Udp || !UdpHeader.TryParse(transport, out var udp, out _) || udp.Checksum == 0 || !udp.ChecksumIsRight(ip.Source, ip.Destination)
            || !Awaits(IpProtocol.Udp, AddressBits.Of6(ip.Source), udp.SourcePort, udp.DestinationPort))
        {
            effects.Count("dns.resolver.malformed");
            return;
        }

        // Who does not know identifier and question has not seen the query (RFC 5452 9.1); the right answer may still come.
        var query = _underWay[udp.DestinationPort];
        if (!IsAnswerTo(query, udp.Payload, out var answer))
        {
            effects.Count("dns.resolver.mismatch");
            return;
        }

        _underWay.Remove(query.Port);
        OnAnswer(query, answer, final: false, now, effects);
    }

    private static bool IsAnswerTo(NameQuery query, ReadOnlySpan<byte> octets, [NotNullWhen(true)] out DnsMessage? answer) =>
        DnsMessage.TryParse(octets, out answer, out _) && answer.IsResponse && answer.Identifier == query.Identifier && answer.Questions is [var question] && question == query.Asked;

    /// <param name="final">There is no better one to be had from this server.</param>
    private void OnAnswer(NameQuery query, DnsMessage answer, bool final, DateTimeOffset now, EffectSink effects)
    {
        var question = query.Asked;
        if (answer.ResponseCode is not (DnsResponseCode.NoError or DnsResponseCode.NameError))
        {
            TryNext(query, now, effects);
            return;
        }

        if (!final && answer.Flags.HasFlag(DnsFlags.Truncated) && (query.Client.Stream is not null || query.Asked != query.Question))
        {
            AskByStream(query, answer, now, effects);
            return;
        }

        if (query.Asked == query.Question)
        {
            if (question.Type == DnsRecordType.A && answer.ResponseCode == DnsResponseCode.NoError && !answer.Answers.Any(r => r.Type == DnsRecordType.A))
            {
                query.Asked = question with { Type = DnsRecordType.AAAA };
                query.Tries = 0;
                TryNext(query, now, effects);
                return;
            }

            Answer(query.Client, query.Message, answer with { Additional = [.. answer.Additional.Where(r => r.Type is not (DnsRecordType.OPT or DnsRecordType.TSIG))] }, effects);
            return;
        }

        Answer(query.Client, query.Message, query.Question.Type == DnsRecordType.PTR ? AsReverse(query, answer) : AsAddresses(query, answer, now, effects), effects);
    }

    /// <summary>What is said of an IPv6 address, said of the virtual one.</summary>
    private DnsMessage AsReverse(NameQuery query, DnsMessage answer) => new()
    {
        Identifier = 0,
        ResponseCode = answer.ResponseCode,
        Answers = [.. answer.Answers.Where(r => r is { Type: DnsRecordType.PTR, Data: DnsTarget }).Select(r => r with { Name = query.Question.Name, Seconds = Math.Min(r.Seconds, Seconds) })],
    };

    /// <summary>AAAA records as the virtual addresses that stand for them; aliases stay.</summary>
    private DnsMessage AsAddresses(NameQuery query, DnsMessage answer, DateTimeOffset now, EffectSink effects)
    {
        var records = new List<DnsRecord>();
        var (shown, refused) = (0, false);
        foreach (var record in answer.Answers)
        {
            if (record is { Type: DnsRecordType.AAAA, Data: DnsAddress data })
            {
                if (shown < _options.MaximumAddresses && Show(data.Address, query.Question.Name, now, ref refused) is { } address)
                {
                    records.Add(record with { Type = DnsRecordType.A, Seconds = Math.Min(record.Seconds, Seconds), Data = new DnsAddress(address) });
                    shown++;
                }
            }
            else if (record.Type is DnsRecordType.CNAME or DnsRecordType.DNAME)
            {
                records.Add(record);
            }
        }

        if (shown == 0 && refused)
        {
            effects.Count("xlat.pool4_empty");
            return Failure;
        }

        // A server that had no room for a single address knows more than we can show.
        return shown == 0 && answer.Flags.HasFlag(DnsFlags.Truncated)
            ? Failure
            : new DnsMessage { Identifier = 0, ResponseCode = answer.ResponseCode, Answers = records, Authorities = shown == 0 ? [.. answer.Authorities.Where(r => r.Type == DnsRecordType.SOA)] : [] };
    }

    private IPAddress? Show(IPAddress address, DnsName name, DateTimeOffset now, ref bool refused)
    {
        var bits = AddressBits.Of6(address);
        if (!AddressBits.IsHost6(bits))
        {
            return null;
        }

        if (_table.Ipv6Pool is { } pool && pool.TryExtract(bits, out var embedded))
        {
            return AddressBits.IsHost4(embedded) && !_table.InPool(embedded) ? AddressBits.To4(embedded) : null;
        }

        if (_table.OfCorrespondent(bits, TranslationOrigin.Name, usedByTcp: false, now) is not { } entry)
        {
            refused = true;
            return null;
        }

        if (entry.Kind == TranslationKind.Correspondent)
        {
            entry.Name ??= name;
        }

        return entry.Ipv4Address;
    }

    /// <summary>The address that <c>d.c.b.a.in-addr.arpa</c> stands for.</summary>
    private static bool TryReadReverse(DnsName name, out uint address)
    {
        address = 0;
        if (!name.IsWithin(s_reverse))
        {
            return false;
        }

        var octets = name.Octets;
        var at = 0;
        for (var i = 0; i < 4; i++)
        {
            if (octets[at] is 0 or > 3 || !byte.TryParse(octets.Slice(at + 1, octets[at]), System.Globalization.NumberStyles.None, null, out var octet))
            {
                return false;
            }

            address |= (uint)octet << (8 * i);
            at += 1 + octets[at];
        }

        return octets.Length - at == s_reverse.Length;
    }
}
