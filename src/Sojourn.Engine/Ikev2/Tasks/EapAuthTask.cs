using Sojourn.Engine.Eap;
using Sojourn.Wire.Eap;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>
/// IKE_AUTH as initiator that proves itself with EAP (RFC 7296 2.16): the responder's certificate first, then EAP's messages one
/// exchange each, at last AUTH of both ends with the key that EAP gave. The same task asks for all of these in turn.
/// </summary>
internal sealed class EapAuthTask : FirstAuthTask
{
    private readonly EapPeer _peer;
    private IdentificationPayload? _responder;
    private EapPacket? _response;

    public EapAuthTask(IkeSa sa)
        : base(sa) => _peer = sa.Peer!.Eap!();

    public override IReadOnlyList<IkePayload>? Build()
    {
        var peer = Sa.Peer!;
        var id = peer.LocalIdentity.ToPayload(ofInitiator: true);
        if (_responder is not null)
        {
            return _peer.MasterSessionKey is { } key ? [Authentication.MakeWith(key, Sa, ofInitiator: true, id)] : [new EapPayload(_response!.ToArray())];
        }

        List<IkePayload> payloads = [id, .. Wanted(), .. Announced()];
        if (peer.Configuration.Count > 0)
        {
            payloads.Add(new ConfigurationPayload(IkeConfigurationType.Request, [.. peer.Configuration.Select(type => new IkeConfigurationAttribute(type, default))]));
        }

        payloads.AddRange(FirstChild());
        return payloads;
    }

    public override void Process(IReadOnlyList<IkePayload> payloads)
    {
        if (_responder is null)
        {
            ProcessFirst(payloads);
        }
        else if (_peer.MasterSessionKey is { } key)
        {
            ProcessLast(key, payloads);
        }
        else
        {
            ProcessEap(payloads);
        }
    }

    public override void Dispose() => _peer.Dispose();

    private void ProcessFirst(IReadOnlyList<IkePayload> payloads)
    {
        if (payloads.OfType<IdentificationPayload>().FirstOrDefault() is not { } id || !payloads.OfType<AuthenticationPayload>().Any() || !payloads.OfType<EapPayload>().Any())
        {
            EndForLackOf("AUTH or EAP", payloads);
            return;
        }

        ProveResponder(id, payloads, () =>
        {
            _responder = id;
            ProcessEap(payloads);
        });
    }

    private void ProcessEap(IReadOnlyList<IkePayload> payloads)
    {
        if (payloads.OfType<EapPayload>().FirstOrDefault() is not { } message || !EapPacket.TryParse(message.Message.Span, out var packet, out _))
        {
            EndForLackOf("EAP", payloads);
            return;
        }

        Sa.ForgetAt = Engine.Now + (2 * Engine.Options.HalfOpenLifetime);
        _response = _peer.Receive(packet, Engine.Now);
        if (_peer.State == EapPeerState.Failed || (_response is null && _peer.State == EapPeerState.Running))
        {
            Refuse($"EAP: {_peer.Reason}");
            return;
        }

        Sa.Enqueue(this, first: true);
    }

    private void ProcessLast(KeyMaterial key, IReadOnlyList<IkePayload> payloads)
    {
        if (payloads.OfType<AuthenticationPayload>().FirstOrDefault() is not { } auth)
        {
            EndForLackOf("AUTH", payloads);
            return;
        }

        if (!Authentication.IsMadeWith(key, Sa, ofInitiator: false, _responder!, auth))
        {
            Refuse("AUTH was not made with the key of EAP");
            return;
        }

        key.Wipe();
        Establish(payloads);
        if (payloads.OfType<ConfigurationPayload>().FirstOrDefault(c => c.ConfigurationType == IkeConfigurationType.Reply) is { } configuration)
        {
            Engine.Effects.Emit(new ConfigurationReceived(Sa.Id, Sa.Peer!.Name, configuration.Attributes));
        }

        MakeChildren(payloads);
    }
}
