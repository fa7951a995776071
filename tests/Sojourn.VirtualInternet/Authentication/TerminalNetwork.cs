using System.Buffers.Binary;
using System.Net;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Dhcpv6;
using Sojourn.VirtualInternet.Net;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Sojourn.Wire.Udp;

namespace Sojourn.VirtualInternet.Authentication;

/// <summary>
/// Machines of the second system, what routes packets between them, and the connections that queries go over. What an engine keeps in a
/// call is committed before the rest of that call is carried out, as the role host does it.
/// </summary>
internal sealed partial class TerminalNetwork : EngineNetwork<Machine>
{
    private readonly List<Ping> _pings = [];

    public TerminalNetwork(int seed, bool trace)
        : base(seed, trace) => Ledger = new TerminalLedger(this);

    public TerminalLedger Ledger { get; }

    /// <summary>Where a machine may crash: everything it does but counting and reporting.</summary>
    public static bool IsStep(Effect effect) => effect is not (CountEvent or Report);

    /// <summary>Asks another machine over a connection.</summary>
    /// <param name="limit">How long the asker waits.</param>
    /// <param name="then">Told the answer in the same life of the asker; null = there was none in time.</param>
    public void Ask(Machine from, Machine to, string kind, object body, TimeSpan limit, Action<object?> then)
    {
        var (life, waits) = (from.Life, true);
        Simulation.After(limit, () => Conclude(null));
        Carry(from, to, kind, () => to.Serve(new Question(kind, body, answer => Carry(to, from, $"answer to {kind}", () => Conclude(answer), mayRepeat: false))), mayRepeat: false);

        void Conclude(object? answer)
        {
            if (waits)
            {
                waits = false;
                if (from.IsUp && from.Life == life)
                {
                    then(answer);
                }
            }
        }
    }

    /// <summary>Something a machine does beside its engine and may crash after. False when it has.</summary>
    public bool Step(Machine machine, Effect step) => Do(machine, step);

    /// <summary>The core: by destination address.</summary>
    public void Route(Machine from, byte[] packet)
    {
        Ledger.OnCore(from, packet);
        var destination = IPv6Octets.Read(packet.AsSpan(24));
        if (Nodes.FirstOrDefault(n => n.Takes(destination)) is { } to && to != from)
        {
            Carry(from, to, NamesMatter ? PacketNames.Of(packet) : null, () =>
            {
                if (to.IsUp)
                {
                    to.Receive([.. packet]);
                }
            });
        }
    }

    /// <summary>A datagram between machines whose engines speak UDP through the kernel.</summary>
    public void SendUdp(Machine from, IPAddress source, SendDatagram send)
    {
        if (Nodes.FirstOrDefault(n => n.Takes(send.Destination.Address)) is { } to)
        {
            var payload = send.Payload.ToArray();
            Carry(from, to, NamesMatter ? PacketNames.OfDhcp(payload) : null, () => Input(to, new DatagramReceived(new IPEndPoint(source, send.Source.Port), send.Destination, payload, "core")));
        }
    }

    /// <summary>The terminal's application sends to the correspondent, who answers.</summary>
    public Ping PingFromTerminal(TerminalMachine terminal)
    {
        var ping = NewPing(terminal, "up");
        if (terminal.Terminal?.HomeAddress is { } home)
        {
            Input(terminal, new Engine.Terminal.HostPacketSent(PingPacket(home, AuthenticationWorld.Correspondent, ping.Id, isReply: false)));
        }

        return ping;
    }

    /// <summary>The correspondent sends first, and the terminal's application answers.</summary>
    public Ping PingFromCorrespondent(TerminalMachine terminal, IPAddress home)
    {
        var ping = NewPing(terminal, "down");
        Route(this["cn"], PingPacket(AuthenticationWorld.Correspondent, home, ping.Id, isReply: false));
        return ping;
    }

    /// <summary>A packet has come to an application.</summary>
    public void Delivered(Machine at, ReadOnlySpan<byte> packet, Action<byte[]> send)
    {
        if (packet.Length != IPv6Header.Length + UdpHeader.HeaderLength + 5 || packet[6] != IpProtocol.Udp)
        {
            return;
        }

        var payload = packet[(IPv6Header.Length + UdpHeader.HeaderLength)..];
        var ping = _pings[BinaryPrimitives.ReadInt32BigEndian(payload)];
        if (payload[4] == 1)
        {
            ping.Returned = true;
            return;
        }

        ping.Reached = true;
        ping.Note($"at {at}");
        send(PingPacket(IPv6Octets.Read(packet[24..]), IPv6Octets.Read(packet[8..]), ping.Id, isReply: true));
    }

    public static byte[] Udp(IPAddress source, IPAddress destination, ushort from, ushort to, ReadOnlySpan<byte> payload)
    {
        var datagram = new byte[UdpHeader.HeaderLength + payload.Length];
        payload.CopyTo(datagram.AsSpan(UdpHeader.HeaderLength));
        UdpHeader.Write(datagram, from, to);
        UdpHeader.WriteChecksum(datagram, source.GetAddressBytes(), destination.GetAddressBytes());
        return new MobileIpv6Packet { Source = source, Destination = destination, Protocol = IpProtocol.Udp, Payload = datagram }.ToArray();
    }

    protected override IEnumerable<Effect> Steps(IReadOnlyList<Effect> effects)
    {
        var changes = effects.Where(IsChange).ToList();
        return changes.Count == 0 ? effects : [new Commit(changes), .. effects.Where(effect => !IsChange(effect))];
    }

    protected override void CarryOut(Machine node, Effect effect)
    {
        switch (effect)
        {
            case Commit commit:
                foreach (var change in commit.Changes)
                {
                    node.Keep(change);
                }

                break;
            case CountEvent { Amount: < 0 } negative:
                throw Violation($"{node} counts {negative.Counter} backwards, by {negative.Amount}");
            case CountEvent count:
                Counters[count.Counter] = Counters.GetValueOrDefault(count.Counter) + count.Amount;
                break;
            case Report report:
                Trace.Event(Simulation.Now, node, report.Event);
                break;
            default:
                if (!node.TryCarryOut(effect))
                {
                    throw Violation($"{node} asks for {effect.GetType().Name}, which nobody carries out");
                }

                break;
        }
    }

    protected override void OnStarting(Machine node, IRandomSource random) => node.PowerOn(random);

    protected override void OnCrashed(Machine node) => node.PowerOff();

    protected override void Settle(Machine node) => node.Check();

    private static bool IsChange(Effect effect) => effect is SaveState or DropState or LeaseChange or AuthorityChange;

    private static byte[] PingPacket(IPAddress source, IPAddress destination, int id, bool isReply)
    {
        Span<byte> payload = stackalloc byte[5];
        BinaryPrimitives.WriteInt32BigEndian(payload, id);
        payload[4] = isReply ? (byte)1 : (byte)0;
        return Udp(source, destination, 5000, 5000, payload);
    }

    private Ping NewPing(TerminalMachine terminal, string direction)
    {
        var ping = new Ping(_pings.Count, terminal, AuthenticationWorld.Correspondent, false, direction, Simulation.Now);
        _pings.Add(ping);
        return ping;
    }
}
