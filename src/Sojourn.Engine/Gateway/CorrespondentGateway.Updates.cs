using System.Net;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.Gateway;

/// <summary>Binding updates (S219, NV4.7): who sent it, is it fresh, may he, does it fit; only then anything changes.</summary>
public sealed partial class CorrespondentGateway
{
    private readonly Dictionary<(IPAddress Supplier, IPAddress HomeAddress), (IdentificationGuard Guard, DateTimeOffset Until)> _ended = [];

    private void OnDatagram(DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        var octets = datagram.Payload.Span;
        if (!MobileIpMessage.TryParse(octets, out MobileIpMessage? message, out var error))
        {
            Drop(effects, datagram, null, "gateway.bu.malformed", error.ToString(), error.Clause);
            return;
        }

        if (message is not BindingUpdate update)
        {
            effects.Count("gateway.message.unexpected");
            return;
        }

        if (!_contracts.TryGetValue(update.Supplier, out var contract) || !datagram.Source.Address.Equals(update.Supplier))
        {
            Drop(effects, datagram, update, "gateway.bu.unknown_home_agent", "no contract with the sender", "NV-A30, M9");
            return;
        }

        var proof = contract.Association.Check(update, octets);
        if (proof != AuthenticationResult.Valid)
        {
            var counter = proof switch
            {
                AuthenticationResult.Missing => "gateway.bu.missing_mac",
                AuthenticationResult.UnknownSpi => "gateway.bu.unknown_spi",
                _ => "gateway.bu.bad_mac",
            };
            Drop(effects, datagram, update, counter, "the sender does not prove that it holds the contract's key", "NV-A30, M9");
            return;
        }

        OnAuthentic(update, contract, datagram, now, effects);
    }

    /// <summary>From here on the contract's key is proven: refusals are answered.</summary>
    private void OnAuthentic(BindingUpdate update, Contract contract, DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        var held = _nodes.TryGetValue(update.HomeAddress, out var node) ? node : null;
        var known = held is not null && held.Supplier.Equals(update.Supplier) ? held : null;
        if (known?.LastAnswer is { } last && last.Identification == update.Identification && datagram.Payload.Span.SequenceEqual(last.Update.Span))
        {
            effects.Count("gateway.bu.repeated");
            if (update.AcknowledgementWanted)
            {
                Send(last.Answer, datagram, effects);
            }

            return;
        }

        switch ((known?.Guard ?? RememberedGuard(update)).Check(update.Identification, now, _options.TimestampTolerance))
        {
            case IdentificationResult.NotGrowing:
                Drop(effects, datagram, update, "gateway.bu.old_identification", "the Identification is not newer than the last one accepted", "NV-A30, RFC 5944 5.7.1");
                return;
            case IdentificationResult.OutOfTolerance:
                Refuse(BindingStatus.IdentificationMismatch, "gateway.bu.identification_mismatch", "the Identification is too far from this gateway's clock", "RFC 5944 5.7.1");
                return;
        }

        if (!contract.TakeToken(now))
        {
            Refuse(BindingStatus.RateLimited, "gateway.bu.rate_limited", "the home agent sends more updates than its share", "M9");
            return;
        }

        if (Authorises(update.Supplier, update.HomeAddress) is null)
        {
            Refuse(BindingStatus.Prohibited, "gateway.bu.foreign_home_prefix", "the contract does not cover the home address", "NV-A30, M9");
            return;
        }

        if (update.Extensions.FirstNotUnderstood is not null || update.Extensions.Find<VendorExtension>(e => e.IsForeignCritical(_options.Enterprise)) is not null)
        {
            Refuse(BindingStatus.Malformed, "gateway.bu.unknown_extension", "the update has an extension that must not be passed over", "RFC 5944 1.8");
            return;
        }

        if (!IsBehindUs(datagram.Destination.Address) && !datagram.Destination.Address.Equals(_options.Gateway))
        {
            Refuse(BindingStatus.CorrespondentNotBehindGateway, "gateway.bu.not_behind", "the correspondent is not behind this gateway", "M9");
            return;
        }

        var profile = OpenProfile(update, contract, out var status, out var counter, out var reason);
        if (profile is null && status != BindingStatus.Accepted)
        {
            Refuse(status, counter, reason, "NV4.7");
            return;
        }

        if (update.Remove || update.Lifetime == 0)
        {
            Remove(update, profile, known, contract, datagram, now, effects);
            return;
        }

        if (profile is null)
        {
            Refuse(BindingStatus.Malformed, "gateway.bu.no_profile", "the update carries no sealed profile", "NV4.7");
            return;
        }

        if (Misfit(update, profile, datagram.Destination.Address) is { } misfit)
        {
            Refuse(misfit.Status, misfit.Counter, misfit.Reason, misfit.Rule);
            return;
        }

        if (IsSpent(profile, known))
        {
            Refuse(BindingStatus.Unspecified, "gateway.bu.spent_keys", "this gateway has restarted and may have used these keys before; the node has to register anew", "M3");
            return;
        }

        if (known?.Bindings.ContainsKey(profile.ProfileNumber) != true && _count >= _options.MostBindings)
        {
            Refuse(BindingStatus.InsufficientResources, "gateway.bu.table_full", "this gateway holds as many bindings as it may", "M9");
            return;
        }

        Install(update, profile, known, contract, datagram, now, effects);

        void Refuse(BindingStatus code, string name, string text, string rule) => Answer(update, contract, code, 0, text, name, rule, datagram, effects);
    }

    private bool IsBehindUs(IPAddress address) => _options.Correspondents.Any(prefix => prefix.Contains(address));

    /// <summary>Bindings that have ended leave their last Identification behind for as long as it could be repeated.</summary>
    private IdentificationGuard RememberedGuard(BindingUpdate update) =>
        _ended.TryGetValue((update.Supplier, update.HomeAddress), out var guard) ? guard.Guard : default;

    private void RememberEnded(MobileNodeBindings node, DateTimeOffset now)
    {
        foreach (var old in _ended.Where(entry => entry.Value.Until <= now).Select(entry => entry.Key).ToList())
        {
            _ended.Remove(old);
        }

        _ended[(node.Supplier, node.HomeAddress)] = (node.Guard, now + (2 * _options.TimestampTolerance));
    }

    /// <summary>The profile inside, or null: with status Accepted when there is none, else with the reason.</summary>
    private VpnProfile? OpenProfile(BindingUpdate update, Contract contract, out BindingStatus status, out string counter, out string reason)
    {
        (status, counter, reason) = (BindingStatus.Accepted, "", "");
        if (update.Extensions.FindProject(_options.Enterprise, ProjectExtensions.SealedVpnProfileType) is not { } carrier)
        {
            return null;
        }

        if (contract.Association.Open(update.Header(), carrier.Value.Span) is not { } plaintext)
        {
            (status, counter, reason) = (BindingStatus.AuthenticationFailed, "gateway.bu.bad_seal", "the sealed profile does not open");
            return null;
        }

        if (!_encoding.TryDecode(plaintext, contract.Association.WrappingKey, out var profile, out reason))
        {
            (status, counter) = (BindingStatus.Malformed, "gateway.bu.bad_profile");
            return null;
        }

        return profile;
    }

    private (BindingStatus Status, string Counter, string Reason, string Rule)? Misfit(BindingUpdate update, VpnProfile profile, IPAddress correspondent)
    {
        var sourceIsOurs = _options.Correspondents.Any(prefix => prefix.PrefixLength <= profile.Source.PrefixLength && prefix.Contains(profile.Source.BaseAddress));
        if (!sourceIsOurs || (!correspondent.Equals(_options.Gateway) && !profile.Source.Contains(correspondent)))
        {
            return (BindingStatus.CorrespondentNotBehindGateway, "gateway.bu.not_behind", $"{profile.Source} is not behind this gateway or not what the update was sent to", "M9");
        }

        if (!profile.SourceGateway.Equals(_options.Gateway))
        {
            return (BindingStatus.CorrespondentNotBehindGateway, "gateway.bu.other_gateway", $"the profile is for gateway {profile.SourceGateway}", "NV4.5");
        }

        var towardsNode = profile.View == ProfileView.Down && profile.GatewayType == GatewayType.Dynamic
            && profile.Destination.PrefixLength == 32 && profile.Destination.BaseAddress.Equals(update.HomeAddress)
            && profile.DestinationGateway.Equals(update.CareOfAddress);
        return towardsNode ? null : (BindingStatus.Malformed, "gateway.bu.contradiction", "header and profile name different nodes, agents or directions", "NV4.7");
    }

    private void Install(
        BindingUpdate update, VpnProfile profile, MobileNodeBindings? known, Contract contract, DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        var wish = TimeSpan.FromSeconds(update.Lifetime);
        var granted = wish < _options.LongestLifetime ? wish : _options.LongestLifetime;
        var supplied = profile with { Supplier = update.Supplier };
        var binding = new CorrespondentBinding(supplied, datagram.Destination.Address, granted, now + granted, update.Identification, Requested: false);
        var answer = Acknowledgement(update, contract, BindingStatus.Accepted, (ushort)Math.Min(granted.TotalSeconds, ushort.MaxValue), null);
        var next = (known ?? new MobileNodeBindings
        {
            HomeAddress = update.HomeAddress,
            Supplier = update.Supplier,
            Guard = default,
            Bindings = new Dictionary<uint, CorrespondentBinding>(),
        }).With(binding) with
        {
            Nai = update.Extensions.Find<NaiExtension>()?.Nai ?? known?.Nai,
            Guard = default(IdentificationGuard).Accept(update.Identification),
            LastAnswer = (update.Identification, datagram.Payload.ToArray(), answer),
        };
        if (Replace(next, now, effects, _options.HandOffTime) is { } refusal)
        {
            var status = refusal.Kind switch
            {
                VpnRefusalKind.SpiClash => BindingStatus.SpiClash,
                VpnRefusalKind.UnknownAlgorithm or VpnRefusalKind.AlgorithmDoesNotFit or VpnRefusalKind.StaticKeyNotAllowed or VpnRefusalKind.NoPresetAssociation
                    or VpnRefusalKind.NotInThisBackEnd => BindingStatus.UnsupportedAlgorithm,
                VpnRefusalKind.NotOurGateway => BindingStatus.CorrespondentNotBehindGateway,
                _ => BindingStatus.Malformed,
            };
            Answer(update, contract, status, 0, refusal.Text, "gateway.bu.not_installable", refusal.Rule, datagram, effects);
            return;
        }

        effects.Count("gateway.bu.accepted");
        Report(effects, "binding.accepted", EventSeverity.Information, $"profile {profile.ProfileNumber} for {granted.TotalSeconds:0} s, tunnel to {update.CareOfAddress}", next, "NV4.7");
        if (update.AcknowledgementWanted)
        {
            Send(answer, datagram, effects);
        }
    }

    private void Remove(
        BindingUpdate update, VpnProfile? profile, MobileNodeBindings? known, Contract contract, DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        if (known is not null)
        {
            IReadOnlyCollection<uint> ended = profile is null ? [.. known.Bindings.Keys] : [profile.ProfileNumber];
            var rest = known.Without(ended) with { Guard = known.Guard.Accept(update.Identification), LastAnswer = null };
            Replace(rest, now, effects, keepInbound: null);
            effects.Count("gateway.binding.removed", known.Bindings.Count - rest.Bindings.Count);
            Report(effects, "binding.removed", EventSeverity.Information, "removed by the home agent", known, "NV9.8");
        }

        // Removing what is not there is no fault: the wish is fulfilled.
        Answer(update, contract, BindingStatus.Accepted, 0, null, "gateway.bu.accepted", "NV9.8", datagram, effects);
    }

    private void Answer(
        BindingUpdate update, Contract contract, BindingStatus status, ushort lifetime, string? reason, string counter, string rule, DatagramReceived datagram, EffectSink effects)
    {
        effects.Count(counter);
        if (status != BindingStatus.Accepted)
        {
            effects.Emit(new Report(RefusalEvent(update, datagram, $"update refused with status {(byte)status}: {reason}", rule)));
        }

        if (update.AcknowledgementWanted)
        {
            Send(Acknowledgement(update, contract, status, lifetime, reason), datagram, effects);
        }
    }

    private byte[] Acknowledgement(BindingUpdate update, Contract contract, BindingStatus status, ushort lifetime, string? reason)
    {
        var answer = new BindingAcknowledgement
        {
            Status = status,
            Lifetime = lifetime,
            HomeAddress = update.HomeAddress,
            CareOfAddress = update.CareOfAddress,
            Supplier = update.Supplier,
            Identification = update.Identification,
        };
        if (update.Extensions.Find<NaiExtension>() is { } nai)
        {
            answer = answer.With(nai);
        }

        if (reason is not null)
        {
            answer = answer.With(ProjectExtensions.RefusalReason(_options.Enterprise, reason));
        }

        return contract.Association.Sign(answer).ToArray();
    }

    private void Send(ReadOnlyMemory<byte> answer, DatagramReceived datagram, EffectSink effects) =>
        effects.Emit(new SendDatagram(new IPEndPoint(_options.Gateway, MobileIpv4Limits.Port), datagram.Source, answer));

    private static void Drop(EffectSink effects, DatagramReceived datagram, BindingUpdate? update, string counter, string text, string rule)
    {
        effects.Count(counter);
        effects.Emit(new Report(RefusalEvent(update, datagram, $"update dropped: {text}", rule)));
    }

    private static EngineEvent RefusalEvent(BindingUpdate? update, DatagramReceived datagram, string text, string rule) => new("binding.refused", EventSeverity.Warning, text)
    {
        Nai = update?.Extensions.Find<NaiExtension>()?.Nai,
        HomeAddress = update?.HomeAddress,
        CareOfAddress = update?.CareOfAddress,
        Peer = datagram.Source.Address.ToString(),
        Rule = rule,
    };
}
