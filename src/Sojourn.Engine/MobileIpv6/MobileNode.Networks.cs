// Readings:
// - A router that every home agent refuses as router (statuses 140 to 143) sends no more updates for this home address, be it at
//   another place (RFC 3963 5.4: it MUST stop); another home address, or an operator's word, lets it begin again.
// - An answer without R is that of a home agent that has registered the node as a host. The binding is taken back before another home
//   agent is asked (RFC 3963 5.3).
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>What a mobile router does otherwise than a mobile host (RFC 3963 5).</summary>
public sealed partial class MobileNode
{
    private bool IsRouter => _options.MobileNetworks.Count > 0;

    /// <summary>Why no home agent takes the networks; null while none has refused, or this is no router.</summary>
    public BindingStatus? NetworksRefused { get; private set; }

    private static bool RefusesNetworks(BindingStatus status) => status is >= BindingStatus.MobileRouterOperationNotPermitted and <= BindingStatus.ForwardingSetupFailed;

    private bool LacksNetworks(BindingAcknowledgement acknowledgement) => IsRouter && !acknowledgement.Flags.HasFlag(BindingAcknowledgementFlags.MobileRouter);

    private void OnNetworksNotServed(BindingUpdateListEntry entry, DateTimeOffset now, EffectSink effects)
    {
        effects.Count("mip6.mn.networks_not_served");
        effects.Emit(new Report(new EngineEvent("binding.refused", EventSeverity.Warning, $"{entry.Peer} serves no mobile routers") { HomeAddress = entry.HomeAddress, Peer = entry.Peer.ToString(), Rule = "RFC 3963 5.3" }));
        SendUpdate(0, FirstTimeout, now, effects);
    }

    /// <summary>After the binding of a home agent that serves no routers is gone: the next of the discovery reply, or a pause.</summary>
    private void LookForRouterService(DateTimeOffset now, EffectSink effects)
    {
        if (_agent + 1 < _agents.Count)
        {
            NextAgent(now, effects);
        }
        else
        {
            (_refused, _resumeAt) = (true, now + s_pause);
        }
    }
}
