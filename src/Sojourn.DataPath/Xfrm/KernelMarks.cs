using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;

namespace Sojourn.DataPath.Xfrm;

/// <summary>What packets get that a policy has chosen.</summary>
/// <param name="Dscp">Null = they keep what they have.</param>
internal readonly record struct KernelMark(IPNetwork Source, IPNetwork Destination, byte? Dscp);

/// <summary>
/// Marks by DiffServ (RFC 2474) as rules of nf_tables (linux/netfilter/nf_tables.h), without the <c>nft</c> command. They see a packet after a policy has chosen
/// it and before it is protected, so that the outer header gets the same class (RFC 2983). One rule for each selector, tried one after the other, the most
/// specific first; a packet under no association matches none. Without a mark there is no table, and nf_tables need not be there. Guarded by the packet path's control lock.
/// </summary>
internal sealed class KernelMarks(NetworkNamespace network) : IDisposable
{
    private const string Table = "sojourn", Chain = "marks";
    private const ushort BatchBegin = 0x10, BatchEnd = 0x11, Subsystem = 10 << 8, NewTable = 0, DeleteTable = 2, NewChain = 3, NewRule = 6, DeleteRule = 8;
    private const byte FamilyIPv4 = 2, FamilyIPv6 = 10;
    private const uint PostRouting = 4, Register = 1;
    private const int ManglePriority = -150;
    private const ushort Nested = 1;

    private readonly HashSet<byte> _tables = [];
    private NetlinkSocket? _socket;
    private List<KernelMark> _standing = [];

    /// <summary>Takes away what an earlier life has left.</summary>
    public void TakeOver()
    {
        try
        {
            foreach (var family in (byte[])[FamilyIPv4, FamilyIPv6])
            {
                // Made if it is not there, so that taking it away cannot fail for that.
                Execute(TableRequest(NewTable, family), TableRequest(DeleteTable, family));
            }
        }
        catch (SystemCallException)
        {
            // No nf_tables, hence nothing left.
        }
    }

    /// <summary>These and no others, as one step for every packet.</summary>
    /// <param name="marks">Of selectors that cover the same packet the first decides.</param>
    public void Set(IEnumerable<KernelMark> marks)
    {
        var wanted = marks.ToList();
        if (wanted.TrueForAll(m => m.Dscp is null))
        {
            wanted.Clear();
        }

        if (wanted.SequenceEqual(_standing))
        {
            return;
        }

        var requests = new List<NetlinkRequest>();
        var tables = new HashSet<byte>();
        foreach (var family in wanted.Select(m => FamilyOf(m.Source)).Concat(_tables).Distinct().ToList())
        {
            // Made if it is not there: somebody may have taken it away.
            requests.Add(TableRequest(NewTable, family));
            if (wanted.Where(m => FamilyOf(m.Source) == family).ToList() is not { Count: > 0 } rules)
            {
                requests.Add(TableRequest(DeleteTable, family));
                continue;
            }

            tables.Add(family);
            requests.AddRange([ChainRequest(family), Message(Subsystem | DeleteRule, 0, family).Attribute(1, Table).Attribute(2, Chain), .. rules.Select(RuleRequest)]);
        }

        Execute([.. requests]);
        _standing = wanted;
        _tables.Clear();
        _tables.UnionWith(tables);
    }

    public void Dispose()
    {
        try
        {
            Set([]);
        }
        catch (SystemCallException)
        {
            // The next life takes it away.
        }

        _socket?.Dispose();
    }

    private void Execute(params NetlinkRequest[] requests)
    {
        _socket ??= network.Run(() => new NetlinkSocket(protocol: NetlinkRequest.Netfilter));
        requests[^1].AskForAcknowledgement();
        _socket.ExecuteBatch([Batch(BatchBegin), .. requests, Batch(BatchEnd)], "mark packets (nf_tables)");
    }

    private static NetlinkRequest Batch(ushort type) => Message(type, 0, 0, Subsystem >> 8);

    private static NetlinkRequest Message(ushort type, ushort flags, byte family, ushort resource = 0)
    {
        var request = new NetlinkRequest(type, flags);
        var header = request.Header(4);
        header[0] = family;
        BinaryPrimitives.WriteUInt16BigEndian(header[2..], resource);
        return request;
    }

    private static NetlinkRequest TableRequest(ushort type, byte family) =>
        Message((ushort)(Subsystem | type), type == NewTable ? NetlinkRequest.Create : (ushort)0, family).Attribute(1, Table);

    private static NetlinkRequest ChainRequest(byte family)
    {
        var request = Message(Subsystem | NewChain, NetlinkRequest.Create, family).Attribute(1, Table).Attribute(3, Chain);
        var hook = request.Begin(4);
        request.Attribute(1, Big(PostRouting)).Attribute(2, Big(unchecked((uint)ManglePriority))).End(hook);
        return request.Attribute(7, "filter");
    }

    /// <summary>Under an association, from here, to there: the class, and no other rule.</summary>
    private static NetlinkRequest RuleRequest(KernelMark mark)
    {
        const uint networkHeader = 1, inetChecksum = 1, underAssociation = 4, accept = 1;
        var family = FamilyOf(mark.Source);
        var ipv4 = family == FamilyIPv4;
        var request = Message(Subsystem | NewRule, NetlinkRequest.Create | NetlinkRequest.Append, family).Attribute(1, Table).Attribute(2, Chain);
        var list = request.Begin(4);
        Expression(request, "rt", () => request.Attribute(1, Big(Register)).Attribute(2, Big(underAssociation)));
        Equal([1]);
        Side(mark.Source, ipv4 ? 12u : 8);
        Side(mark.Destination, ipv4 ? 16u : 24);
        if (mark.Dscp is { } dscp)
        {
            // The first two octets of the header; in IPv6 the class begins in the middle of the first (RFC 8200 3).
            var value = new byte[2];
            BinaryPrimitives.WriteUInt16BigEndian(value, (ushort)(dscp << (ipv4 ? 2 : 6)));
            Load(0, 2);
            Mask(ipv4 ? [0xFF, 0x03] : [0xF0, 0x3F], value);
            Expression(request, "payload", () =>
            {
                request.Attribute(5, Big(Register)).Attribute(2, Big(networkHeader)).Attribute(3, Big(0)).Attribute(4, Big(2));
                if (ipv4)
                {
                    request.Attribute(6, Big(inetChecksum)).Attribute(7, Big(10));
                }
            });
        }

        Expression(request, "immediate", () =>
        {
            request.Attribute(1, Big(0));
            var data = request.Begin(2);
            var verdict = request.Begin(2);
            request.Attribute(1, Big(accept)).End(verdict);
            request.End(data);
        });
        request.End(list);
        return request;

        void Side(IPNetwork side, uint offset)
        {
            if (side.PrefixLength == 0)
            {
                return;
            }

            var address = side.BaseAddress.GetAddressBytes();
            var mask = new byte[address.Length];
            for (var bit = 0; bit < side.PrefixLength; bit++)
            {
                mask[bit / 8] |= (byte)(0x80 >> (bit % 8));
            }

            Load(offset, (uint)address.Length);
            Mask(mask, new byte[address.Length]);
            Equal(address);
        }

        void Load(uint offset, uint length) => Expression(request, "payload", () =>
            request.Attribute(1, Big(Register)).Attribute(2, Big(networkHeader)).Attribute(3, Big(offset)).Attribute(4, Big(length)));

        void Mask(byte[] mask, byte[] xor) => Expression(request, "bitwise", () =>
        {
            request.Attribute(1, Big(Register)).Attribute(2, Big(Register)).Attribute(3, Big((uint)mask.Length));
            Data(request, 4, mask);
            Data(request, 5, xor);
        });

        void Equal(byte[] value) => Expression(request, "cmp", () =>
        {
            request.Attribute(1, Big(Register)).Attribute(2, Big(0));
            Data(request, 3, value);
        });
    }

    private static void Expression(NetlinkRequest request, string name, Action write)
    {
        var element = request.Begin(Nested);
        request.Attribute(1, name);
        var data = request.Begin(2);
        write();
        request.End(data);
        request.End(element);
    }

    private static void Data(NetlinkRequest request, ushort type, byte[] value)
    {
        var data = request.Begin(type);
        request.Attribute(1, (ReadOnlySpan<byte>)value).End(data);
    }

    private static uint Big(uint value) => BitConverter.IsLittleEndian ? BinaryPrimitives.ReverseEndianness(value) : value;

    private static byte FamilyOf(IPNetwork network) => network.BaseAddress.AddressFamily == AddressFamily.InterNetworkV6 ? FamilyIPv6 : FamilyIPv4;
}
