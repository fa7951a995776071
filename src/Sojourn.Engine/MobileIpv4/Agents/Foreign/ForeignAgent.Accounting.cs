using Sojourn.Engine.Accounting;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>Accounting follows the sessions of <see cref="Vpn"/>: whoever has paths here has an account.</summary>
public sealed partial class ForeignAgent
{
    private readonly AccountingClient? _accounting;

    /// <summary>Accounting sessions open here, and records not acknowledged by their home AAA server yet; null without accounting.</summary>
    public (int Open, int Waiting)? AccountingState => _accounting is null ? null : (_accounting.Open, _accounting.Waiting);

    protected override void OnPeerOpened(string identity, DateTimeOffset now, EffectSink effects) => _accounting?.PeerOpened(now);

    private AccountingClient? Accounting(ForeignAgentOptions options)
    {
        if (options.Accounting is not { } accounting)
        {
            return null;
        }

        var client = new AccountingClient(accounting, GatewayRole.ForeignAgent, Options, Random, NewSessionId, Send);
        Vpn.SessionSet = client.Set;
        Vpn.SessionRemoved = client.Removed;
        return client;
    }
}
