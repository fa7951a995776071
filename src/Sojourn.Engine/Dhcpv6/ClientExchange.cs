using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Engine.Dhcpv6;

/// <summary>Parameters of a retransmission (RFC 8415 7.6, 15). Zero = no bound.</summary>
/// <param name="Initial">IRT.</param>
/// <param name="Longest">MRT.</param>
/// <param name="Count">MRC.</param>
/// <param name="Duration">MRD.</param>
internal sealed record Retransmission(TimeSpan Initial, TimeSpan Longest, int Count, TimeSpan Duration)
{
    public static readonly Retransmission Solicit = Of(1, 3600, 0, 0);
    public static readonly Retransmission Request = Of(1, 30, 10, 0);
    public static readonly Retransmission Confirm = Of(1, 4, 0, 10);
    public static readonly Retransmission Renew = Of(10, 600, 0, 0);
    public static readonly Retransmission Release = Of(1, 0, 4, 0);

    private static Retransmission Of(int initial, int longest, int count, int duration) =>
        new(TimeSpan.FromSeconds(initial), TimeSpan.FromSeconds(longest), count, TimeSpan.FromSeconds(duration));
}

/// <summary>A message under way, from its first transmission to the answer or the end of patience.</summary>
internal sealed class ClientExchange(Dhcpv6MessageType type, uint transactionId, Retransmission rule, Duid? server, DateTimeOffset begin)
{
    public Dhcpv6MessageType Type { get; } = type;

    public uint TransactionId { get; } = transactionId;

    public Retransmission Rule { get; } = rule;

    /// <summary>Whom it is for; null = every server.</summary>
    public Duid? Server { get; } = server;

    public DateTimeOffset Started { get; private set; }

    /// <summary>When it is sent (again), or given up.</summary>
    public DateTimeOffset Due { get; private set; } = begin;

    public int Sent { get; private set; }

    private TimeSpan _timeout;

    /// <summary>Whether nothing more is to be sent once <see cref="Due"/> is reached.</summary>
    public bool IsExhausted(DateTimeOffset now) =>
        Sent > 0 && ((Rule.Count > 0 && Sent >= Rule.Count) || (Rule.Duration > TimeSpan.Zero && now >= Started + Rule.Duration));

    /// <summary>Notes a transmission and sets the time of the next: doubled each time, up to MRT, a tenth up or down at random.</summary>
    /// <param name="longest">MRT.</param>
    public void Transmitted(DateTimeOffset now, TimeSpan longest, IRandomSource random)
    {
        // The first wait for an Advertise is longer than IRT, never shorter (RFC 8415 18.2.1).
        var spread = Spread(random);
        if (Sent++ == 0)
        {
            Started = now;
            _timeout = Rule.Initial * (1 + (Type == Dhcpv6MessageType.Solicit ? Math.Abs(spread) : spread));
        }
        else
        {
            _timeout *= 2 + spread;
        }

        if (longest > TimeSpan.Zero && _timeout > longest)
        {
            _timeout = longest * (1 + spread);
        }

        Due = now + _timeout;
        if (Rule.Duration > TimeSpan.Zero && Due > Started + Rule.Duration)
        {
            Due = Started + Rule.Duration;
        }
    }

    /// <summary>RAND: from -0.1 to 0.1.</summary>
    public static double Spread(IRandomSource random) => ((random.NextUInt32() / (double)uint.MaxValue) - 0.5) / 5;
}

/// <summary>An Advertise that may be taken.</summary>
internal sealed record ClientOffer(Duid Server, byte Preference, IReadOnlyList<ClientLease> Leases);

/// <summary>Why a server grants nothing.</summary>
internal sealed record ClientRefusal(Duid? Server, Dhcpv6Status? Status, string Text);

/// <summary>An identity association of the client: what it has, and what it is asking. Bound is: leases, and no exchange.</summary>
internal sealed class ClientAssociation(ClientAssociationKey key, int? length)
{
    public ClientAssociationKey Key { get; } = key;

    public int? Length { get; } = length;

    public List<ClientLease> Leases { get; } = [];

    public Duid? Server { get; set; }

    public DateTimeOffset? RenewAt { get; set; }

    public DateTimeOffset? RebindAt { get; set; }

    public ClientExchange? Exchange { get; set; }

    /// <summary>What a Release or Decline names: the association itself has let go of it.</summary>
    public IReadOnlyList<ClientLease> Named { get; set; } = [];

    /// <summary>Offers not tried yet.</summary>
    public List<ClientOffer> Offers { get; } = [];

    /// <summary>The last refusal since the Solicit was sent.</summary>
    public ClientRefusal? Refusal { get; set; }

    /// <summary>Refusals by Reply in a row; each doubles the wait before the next Solicit.</summary>
    public int Failures { get; set; }

    public int Unavailable { get; set; }

    public bool IsGoing => Exchange?.Type == Dhcpv6MessageType.Release;

    /// <summary>Its place in the queue of deadlines that counts.</summary>
    public DateTimeOffset? Queued { get; set; }

    public DateTimeOffset? Due
    {
        get
        {
            var due = Exchange is { } exchange ? exchange.Due : RenewAt;
            if (Exchange is { Type: Dhcpv6MessageType.Renew } && RebindAt is { } rebind && !(rebind >= due))
            {
                due = rebind;
            }

            foreach (var lease in Leases)
            {
                if (lease.ValidUntil != DateTimeOffset.MaxValue && !(lease.ValidUntil >= due))
                {
                    due = lease.ValidUntil;
                }
            }

            return due;
        }
    }
}
