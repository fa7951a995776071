using System.Buffers.Binary;
using System.Net;
using System.Text;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>
/// Home addresses for nodes that ask for one (RFC 2794 2). A user gets the same address every time, also after a
/// restart, as long as the pool has not run out: addresses of users without a binding are given away last.
/// </summary>
internal sealed class HomeAddressPool
{
    public const string Table = "home-address";

    private readonly uint _first;
    private readonly uint _count;
    private readonly Dictionary<string, IPAddress> _byUser = new(StringComparer.Ordinal);
    private readonly Dictionary<IPAddress, string> _byAddress = [];
    private uint _next;

    public HomeAddressPool((IPAddress First, IPAddress Last) range)
    {
        _first = Number(range.First);
        var last = Number(range.Last);
        _count = last >= _first ? last - _first + 1 : throw new ArgumentException("the pool's last address lies before its first", nameof(range));
    }

    public void Restore(string nai, IPAddress address)
    {
        _byUser[nai] = address;
        _byAddress[address] = nai;
    }

    /// <summary>Null when every address is bound.</summary>
    public IPAddress? For(string nai, Func<IPAddress, bool> isBound, EffectSink effects)
    {
        if (_byUser.TryGetValue(nai, out var kept))
        {
            return kept;
        }

        IPAddress? reclaimed = null;
        for (uint i = 0; i < _count; i++)
        {
            var address = Address(_first + ((_next + i) % _count));
            if (isBound(address))
            {
                continue;
            }

            if (!_byAddress.ContainsKey(address))
            {
                _next = (_next + i + 1) % _count;
                return Give(nai, address, effects);
            }

            reclaimed ??= address;
        }

        if (reclaimed is null)
        {
            return null;
        }

        var former = _byAddress[reclaimed];
        _byUser.Remove(former);
        effects.Emit(new DropState(new StateKey(Table, former)));
        return Give(nai, reclaimed, effects);
    }

    private IPAddress Give(string nai, IPAddress address, EffectSink effects)
    {
        Restore(nai, address);
        effects.Emit(new SaveState(new StateKey(Table, nai), Encoding.ASCII.GetBytes(address.ToString())));
        return address;
    }

    private static uint Number(IPAddress address) => BinaryPrimitives.ReadUInt32BigEndian(address.GetAddressBytes());

    private static IPAddress Address(uint number)
    {
        Span<byte> octets = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(octets, number);
        return new IPAddress(octets);
    }
}
