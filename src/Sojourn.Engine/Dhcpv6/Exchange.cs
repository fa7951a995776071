using System.Buffers.Binary;
using System.Net;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Engine.Dhcpv6;

/// <summary>What is decided about one IA_PD of a message.</summary>
internal enum Verdict : byte
{
    Undecided,
    Allowed,

    /// <summary>NoPrefixAvail (spec R67, R68).</summary>
    NoPrefix,

    /// <summary>This server knows of no such lease.</summary>
    NoBinding,

    /// <summary>What the client has is over: lifetimes 0.</summary>
    Over,

    /// <summary>Nothing is said about it.</summary>
    Silent,
}

/// <summary>One IA_PD of a client's message.</summary>
internal sealed class AssociationRequest(uint iaid, IReadOnlyList<IPNetwork> named, int? length)
{
    public uint Iaid { get; } = iaid;

    /// <summary>Prefixes the client names.</summary>
    public IReadOnlyList<IPNetwork> Named { get; } = named;

    /// <summary>Prefix length the client would like (RFC 8168).</summary>
    public int? Length { get; } = length;

    public string Identifier { get; set; } = "";

    public Verdict Verdict { get; set; }

    public PermissionDecision? Permission { get; set; }
}

/// <summary>A client's message while it is decided about.</summary>
internal sealed class Exchange(Dhcpv6MessageType type, uint transactionId, Duid client, ClientPath path)
{
    /// <summary>Associations of one kind in a message, and prefixes named in one; what goes beyond is not looked at, so that an answer has a bounded length.</summary>
    private const int Most = 16;

    public Dhcpv6MessageType Type { get; } = type;

    public uint TransactionId { get; } = transactionId;

    public Duid Client { get; } = client;

    public ClientPath Path { get; } = path;

    public List<AssociationRequest> Prefixes { get; } = [];

    /// <summary>IAIDs of associations of addresses, of which this server has none.</summary>
    public List<uint> Addresses { get; } = [];

    public bool AsksDnsServers { get; private set; }

    /// <summary>Associations the authority is still asked about.</summary>
    public int Waiting { get; set; }

    public static Exchange Read(in Dhcpv6Message message, Duid client, ClientPath path)
    {
        var exchange = new Exchange(message.Type, message.TransactionId, client, path) { AsksDnsServers = message.Options.Asks(Dhcpv6OptionCode.DnsServers) };
        foreach (var option in message.Options)
        {
            if (option.Code == Dhcpv6OptionCode.NonTemporaryAddresses && exchange.Addresses.Count < Most)
            {
                exchange.Addresses.Add(BinaryPrimitives.ReadUInt32BigEndian(option.Data));
            }
            else if (option.Code == Dhcpv6OptionCode.PrefixDelegation && exchange.Prefixes.Count < Most)
            {
                var association = new PrefixAssociation(option.Data);

                // An IAID names one association; what repeats it is not looked at.
                var iaid = association.Iaid;
                if (!exchange.Prefixes.Exists(other => other.Iaid == iaid))
                {
                    exchange.Prefixes.Add(Read(association));
                }
            }
        }

        return exchange;
    }

    private static AssociationRequest Read(in PrefixAssociation association)
    {
        List<IPNetwork>? named = null;
        int? length = null;
        foreach (var option in association.Options)
        {
            if (option.Code == Dhcpv6OptionCode.Prefix)
            {
                var prefix = DelegatedPrefix.Read(option.Data);
                if (prefix.IsLengthHint)
                {
                    length ??= prefix.Prefix.PrefixLength is 0 ? null : prefix.Prefix.PrefixLength;
                }
                else if (named is null || named.Count < Most)
                {
                    (named ??= []).Add(prefix.Prefix);
                }
            }
        }

        return new AssociationRequest(association.Iaid, named ?? (IReadOnlyList<IPNetwork>)[], length);
    }
}
