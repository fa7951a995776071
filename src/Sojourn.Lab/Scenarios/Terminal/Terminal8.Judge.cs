using System.Globalization;
using System.Net;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Nodes;
using Sojourn.Wire.Ip;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>What the wires carried: the outer session opened with the keys of its ends, the inner one closed to everybody but its own.</summary>
public sealed partial class Terminal8
{
    // As tshark prints them: handshake types, extensions, record types (RFC 8446).
    private const string ClientHello = "1", ServerHello = "2", Certificate = "11", CertificateVerify = "15", ClientKeyExchange = "16", Finished = "20";
    private const string PreSharedKey = "41", KeyShare = "51", Tls13 = "0x0304", ApplicationData = "23";
    private const int EthernetHeader = 14;

    /// <summary>Hop limits differ behind the gateway, what stands before them does not matter.</summary>
    private const int BehindHopLimit = 8;

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        ReadCaptures(run);
        rows.Part("Impostors", () => Impostors(rows));
        rows.Part("Outer handshake", () => OuterHandshake(rows));
        rows.Part("Inner session", () => InnerSession(run, captures, rows));
        rows.Part("Moves", () => Moves(rows));
    }

    private void Impostors(RowBook rows)
    {
        var (oldTls, falseCertificate) = (Outer("access-1", _oldTls, _falseCertificate), Outer("access-1", _falseCertificate, _gatewayStarted));
        var leaked = Packets.Where(p => p.Link.StartsWith("access", StringComparison.Ordinal) && p.Time < _gatewayStarted && Involves(p, Correspondent)).ToList();
        var hellos = oldTls.Count(p => p.Sender == "mn" && p.Is("tls.handshake.type", ClientHello));
        rows.Check("TM-NC23", "TLS 1.2 alone is answered with nothing but the end of the handshake", hellos > 0 && Data(oldTls) == 0 && _oldTlsSaid.Contains("unsupported protocol", StringComparison.Ordinal) && _transfers["old TLS"].Exit != 0,
            $"{hellos} ClientHello, {Data(oldTls)} records of data, s_server: {LastError(_oldTlsSaid)}; curl: {_transfers["old TLS"].Report}");
        rows.Check("TM-NC23", "a gateway's certificate of another authority is not taken", falseCertificate.Any(p => p.Sender == "mn" && p.Is("tls.handshake.type", ClientHello)) && _failures.Any(f => f.Contains("not taken", StringComparison.Ordinal)) && _transfers["false certificate"].Exit != 0,
            $"{string.Join("; ", _failures)}; s_server: {LastError(_falseCertificateSaid)}; curl: {_transfers["false certificate"].Report}");
        rows.Check("TM-NC23", "nothing of the user is on the visited link without a session", leaked.Count == 0, $"{leaked.Count} packets from or to {Correspondent}");
        rows.Check("TM-S9", "what is offered to the gateway is TLS 1.3 alone", oldTls.Concat(falseCertificate).Where(p => p.Sender == "mn" && p.Is("tls.handshake.type", ClientHello)).All(p => p.Of("tls.handshake.extensions.supported_version").SequenceEqual([Tls13])),
            string.Join("; ", oldTls.Where(p => p.Is("tls.handshake.type", ClientHello)).Select(p => string.Join(",", p.Of("tls.handshake.extensions.supported_version"))).Distinct()));

        static int Data(IEnumerable<DissectedPacket> packets) => packets.Count(p => p.Sender == "mn" && p.Is("tls.record.content_type", ApplicationData));
        static string LastError(string said) => said.Split('\n').LastOrDefault(l => l.Contains("error:", StringComparison.Ordinal)) ?? "nothing";
    }

    private void OuterHandshake(RowBook rows)
    {
        var packets = Outer("core-gw", _gatewayStarted, _used);
        var hello = packets.FirstOrDefault(p => p.Sender == "core" && p.Is("tls.handshake.type", ClientHello));
        var answer = packets.FirstOrDefault(p => p.Sender == "gw" && p.Is("tls.handshake.type", ServerHello));
        if (hello is null || answer is null)
        {
            rows.Check("TM8.1", "there is a handshake between terminal and gateway", false, $"{packets.Count} packets");
            return;
        }

        var connection = packets.Where(p => p.First("tcp.stream") == hello.First("tcp.stream")).ToList();
        foreach (var id in (string[])["TM8.1", "TM-A-35"])
        {
            rows.Check(id, "the ClientHello offers no compression but null", hello.Of("tls.handshake.comp_method") is ["0"], $"compression methods {string.Join(",", hello.Of("tls.handshake.comp_method"))}");
        }

        var gatewayFinished = Time(connection, "gw", Finished);
        var terminalFinished = Time(connection, "core", Finished);
        foreach (var id in (string[])["TM8.2", "TM-A-35"])
        {
            rows.Check(id, "ServerHello, Certificate, CertificateVerify and Finished of the gateway, and the terminal goes on",
                Time(connection, "gw", Certificate) is { } certificate && Time(connection, "gw", CertificateVerify) is { } verified && answer.Time <= certificate && certificate <= verified && verified <= gatewayFinished && terminalFinished is not null, Types(connection));
        }

        rows.Check("TM8.4", "key shares in both hellos, and no ClientKeyExchange", hello.Is("tls.handshake.extension.type", KeyShare) && answer.Is("tls.handshake.extension.type", KeyShare) && !connection.Any(p => p.Is("tls.handshake.type", ClientKeyExchange)),
            $"extensions {string.Join(",", hello.Of("tls.handshake.extension.type"))} and {string.Join(",", answer.Of("tls.handshake.extension.type"))}");
        rows.Check("TM8.5", "the terminal's Finished, after its own Certificate, ends the handshake", Time(connection, "core", Certificate) is { } own && terminalFinished >= own && connection.Any(p => p.Time > terminalFinished && p.Is("tls.record.content_type", ApplicationData)), Types(connection));
        rows.Check("TM8.6", "the gateway's Finished comes before the terminal's", gatewayFinished < terminalFinished, Types(connection));
        var (gateway, terminal) = (_shown["gateway"], _shown["terminal"]);
        foreach (var id in (string[])["TM8.7", "TM-P14", "TM-P24"])
        {
            rows.Check(id, "the session stands at both ends, between the home address and the gateway", Text(gateway, "nai") == Name1 && Text(gateway, "careOfAddress") == Home && Text(terminal, "state") == "established" && Text(terminal, "careOfAddress") == Home && Text(terminal, "homeAgent") == Gateway, $"{terminal}; {gateway}");
        }

        rows.Check("TM-S9", "TLS 1.3 is what is spoken, with certificates of both", answer.Of("tls.handshake.extensions.supported_version") is [Tls13] && Time(connection, "gw", Certificate) is not null && Time(connection, "core", Certificate) is not null, $"{string.Join(",", answer.Of("tls.handshake.extensions.supported_version"))}; {Types(connection)}");

        static long? Time(IEnumerable<DissectedPacket> packets, string sender, string type) => packets.FirstOrDefault(p => p.Sender == sender && p.Is("tls.handshake.type", type))?.Time;
        static string Types(IEnumerable<DissectedPacket> packets) => string.Join(" ", packets.Where(p => p.Has("tls") && p.Of("tls.handshake.type").Count > 0).Select(p => $"{p.Sender}:{string.Join(",", p.Of("tls.handshake.type"))}"));
    }

    private void InnerSession(LabRun run, CaptureSet captures, RowBook rows)
    {
        var stream = Outer("core-gw", _gatewayStarted, _used).First(p => p.Is("tls.handshake.type", ServerHello)).First("tcp.stream")!;
        var (up, down) = Carried(run, stream);
        var behind = captures.Frames.Where(f => f.Link == "inner-cn" && f.Data.Length > EthernetHeader + IPv6Header.Length && f.Data[12] == 0x86 && f.Data[13] == 0xDD)
            .Select(f => Convert.ToHexString(f.Data.AsSpan(EthernetHeader + BehindHopLimit))).ToHashSet();
        var inner = On("inner-cn", _established, _used).Where(p => p.Is("tcp.dstport", "443") || p.Is("tcp.srcport", "443")).ToList();
        var known = up.Count(p => behind.Contains(Convert.ToHexString(p.AsSpan(BehindHopLimit))));
        var (hello, answer) = (inner.FirstOrDefault(p => p.Sender == "gw" && p.Is("tls.handshake.type", ClientHello)), inner.FirstOrDefault(p => p.Sender == "cn" && p.Is("tls.handshake.type", ServerHello)));
        var page = _transfers["page"];
        var text = $"{up.Count} packets up and {down.Count} down in the opened session, {known} of those up seen behind the gateway; {page}";
        var ends = up.TrueForAll(p => Between(p, Home, Correspondent)) && down.TrueForAll(p => Between(p, Correspondent, Home));
        var within = up.Any(p => FirstRecord(p) == (22, 1)) && down.Any(p => FirstRecord(p) == (22, 2));

        rows.Check("TM8.8", "ClientHello and ServerHello of application and correspondent are in the opened outer session, and behind the gateway", within && hello is not null && answer is not null && answer.Time > hello.Time && hello.Time > _established - 1, text);
        rows.Check("TM8.9", "the inner handshake comes to its end: the application has the page, and it has verified the correspondent", page is { Exit: 0, Whole: true } && page.Report.StartsWith("200 0 ", StringComparison.Ordinal) && _transfers["another authority"].Exit == 60,
            $"{page.Report}; with another authority curl ends with {_transfers["another authority"].Exit}");
        foreach (var id in (string[])["TM8.10", "TM-L32", "TM-A-33"])
        {
            rows.Check(id, "packets between home address and correspondent, in frames of the outer session, with records of application data of the inner one", ends && up.Any(p => FirstRecord(p).Type == 23) && down.Any(p => FirstRecord(p).Type == 23), text);
        }

        var opened = up.Concat(down).Any(p => p.AsSpan().IndexOf(s_page.AsSpan(0, 40)) >= 0);
        var clear = captures.Frames.Where(f => f.Data.AsSpan().IndexOf(s_page.AsSpan(0, 40)) >= 0).Select(f => f.Link).Distinct().ToList();
        foreach (var id in (string[])["TM8.11", "TM-R107"])
        {
            rows.Check(id, "what the gateway has opened and passes on are records of the inner session; the page is on no link and not in what it opened", known == up.Count && up.Count > 5 && page.Whole && !opened && clear.Count == 0, $"{text}; page in the opened session: {opened}, in clear on: {(clear.Count == 0 ? "no link" : string.Join(", ", clear))}");
        }

        var visited = On("access-1", _established, _used).Where(p => p.First("tcp.dstport") is not null).ToList();
        var other = visited.Where(p => !(p.Is("tcp.dstport", GatewayPort) || p.Is("tcp.srcport", GatewayPort))).ToList();
        var leaked = On("access-1", _established, _used).Count(p => Involves(p, Correspondent));
        var foreign = inner.Where(p => p.First("tcp.len") is not "0" and not null && !p.Has("tls")).ToList();
        foreach (var id in (string[])["TM-AC32", "TM-C5"])
        {
            rows.Check(id, "on the visited link there is the outer session and no packet of the correspondent's; behind the gateway the inner session only", visited.Count > 5 && other.Count == 0 && leaked == 0 && inner.Count > 5 && foreign.Count(p => p.Time > answer?.Time) == 0 && page.Whole,
                $"{visited.Count} packets of TCP on the visited link, {other.Count} not of the outer session, {leaked} of the correspondent's; {inner.Count} behind the gateway, {foreign.Count} with data that is no whole record");
        }

        rows.Check("TM-R95", "going out the inner records are made first and lie in the outer ones; coming in the outer ones are opened first", within && known == up.Count && page.Whole, text);
        rows.Check("TM-A-33", "binding updates, their acknowledgements and the tunnel pass the gateway as they are", On("inner-ha").Any(p => p.Is("mip6.mhtype", BindingUpdate)) && On("inner-ha").Any(p => p.Is("mip6.mhtype", BindingAcknowledgement)) && _foreign == 0 && _forwarded > 0, $"{_forwarded} packets forwarded, {_foreign} dropped for a foreign source or destination");
    }

    private void Moves(RowBook rows)
    {
        var (home, careOf) = (_transfers["home address"], _transfers["care-of address"]);
        var kept = Outer("core-gw", home.From, home.To);
        var opened = kept.Count(p => p.Is("tls.handshake.type", ClientHello));
        var arrivals = On("access-2", home.Moved, home.To).Count(p => p.Is("tcp.srcport", GatewayPort) && (p.Is("tls.record.opaque_type", ApplicationData) || p.Is("tls.record.content_type", ApplicationData)));
        foreach (var id in (string[])["TM-AC33", "TM-A-33"])
        {
            rows.Check(id, "bound to the home address: the download ends, on one outer session throughout", home is { Exit: 0, Whole: true } && opened == 0 && kept.Select(p => p.First("tcp.stream")).Distinct().Count() == 1 && arrivals > 0 && home.To > home.Moved,
                $"{home.Report}; {opened} handshakes, {kept.Select(p => p.First("tcp.stream")).Distinct().Count()} connection, {arrivals} packets of it on the new link");
        }

        var again = Outer("core-gw", careOf.Moved, careOf.To);
        var hello = again.FirstOrDefault(p => p.Sender == "core" && p.Is("tls.handshake.type", ClientHello));
        var answer = again.FirstOrDefault(p => p.Sender == "gw" && p.Is("tls.handshake.type", ServerHello) && p.First("tcp.stream") == hello?.First("tcp.stream"));
        foreach (var id in (string[])["TM-AC33", "TM-A-33"])
        {
            rows.Check(id, "bound to the care-of address: the download ends, and the outer session is resumed from the next", careOf is { Exit: 0, Whole: true } && hello is not null && hello.Is("tls.handshake.extension.type", PreSharedKey) && answer is not null && answer.Is("tls.handshake.extension.type", PreSharedKey)
                && !hello.Protocols.Contains("mipv6") && IPAddress.TryParse(Text(_shown["care-of address"], "careOfAddress"), out var address) && address.Equals(hello.Source) && IPNetwork.Parse("2001:db8:f1::/64").Contains(address),
                $"{careOf.Report}; extensions {string.Join(",", hello?.Of("tls.handshake.extension.type") ?? [])} and {string.Join(",", answer?.Of("tls.handshake.extension.type") ?? [])}, from {hello?.Source}");
        }

        if (hello is not null)
        {
            rows.Measure("from the new link to the ClientHello that resumes the session", (hello.Time - careOf.Moved) / 1e6, "ms");
        }
    }

    /// <summary>Packets of the session between terminal and gateway on a link.</summary>
    private List<DissectedPacket> Outer(string link, long from, long to) => [.. On(link, from, to).Where(p => p.Is("tcp.dstport", GatewayPort) || p.Is("tcp.srcport", GatewayPort))];

    private static bool Involves(DissectedPacket packet, string address) => packet.Is("ipv6.src", address) || packet.Is("ipv6.dst", address);

    /// <summary>What a connection of the outer session carried, opened by tshark with the keys of its ends: packets up and down.</summary>
    private static (List<byte[]> Up, List<byte[]> Down) Carried(LabRun run, string stream)
    {
        var capture = System.IO.Path.Combine(run.Evidence, "captures", "core-gw.pcapng");
        var followed = LabCommand.RunAsync(
            [LabCommand.Find("tshark")!, "-n", "-q", "-r", capture, .. StrictJudge.KeyOptions(run.Evidence), "-z", "follow,tls,raw," + stream], CancellationToken.None).GetAwaiter().GetResult();
        var (up, down) = (new List<byte>(), new List<byte>());
        foreach (var line in followed.Output.Split('\n'))
        {
            // One side's lines are indented; whatever is not hexadecimal is about the connection.
            var hex = line.Trim();
            if (hex.Length > 0 && hex.Length % 2 == 0 && hex.All(char.IsAsciiHexDigit))
            {
                (line[0] == '\t' ? down : up).AddRange(Convert.FromHexString(hex));
            }
        }

        // tshark takes whoever sent the first record of data for the one that dialled.
        var (one, other) = (Frames(up), Frames(down));
        return one.Count > 0 && Between(one[0], Home, Correspondent) ? (one, other) : (other, one);
    }

    private static List<byte[]> Frames(List<byte> octets)
    {
        var packets = new List<byte[]>();
        var rest = octets.ToArray().AsSpan();
        while (CarriedPacket.TryParse(rest, out var next, out _) && next.FrameLength > 0)
        {
            packets.Add(next.Packet.ToArray());
            rest = rest[next.FrameLength..];
        }

        return packets;
    }

    private static bool Between(byte[] packet, string source, string destination) =>
        IPv6Header.TryParse(packet, out var header, out _) && header.SourceAddress.Equals(IPAddress.Parse(source)) && header.DestinationAddress.Equals(IPAddress.Parse(destination)) && header.NextHeader == IpProtocol.Tcp;

    /// <summary>Type of the TLS record a segment begins with, and of the handshake message in it; 0 where there is none.</summary>
    private static (int Type, int Message) FirstRecord(byte[] packet)
    {
        if (!IPv6Header.TryParse(packet, out var header, out _) || header.NextHeader != IpProtocol.Tcp || header.Payload.Length < 20)
        {
            return default;
        }

        var data = header.Payload[((header.Payload[12] >> 4) * 4)..];
        return data.Length > 5 && data[0] is >= 20 and <= 23 && data[1] == 3 ? (data[0], data[0] == 22 ? data[5] : 0) : default;
    }
}
