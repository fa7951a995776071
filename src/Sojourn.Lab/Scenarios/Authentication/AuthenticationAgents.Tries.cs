using System.Buffers.Binary;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine;
using Sojourn.Engine.Ikev2;
using Sojourn.Roles.Enrolment;
using Sojourn.Roles.KeyExchange;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.MobileIpv6;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>Whoever tries to get an association from the stranger's host.</summary>
public sealed partial class AuthenticationAgents
{
    private static readonly TimeSpan s_try = TimeSpan.FromSeconds(6), s_silence = TimeSpan.FromSeconds(1);

    /// <summary>A second authority whose certificates the home agents take, and one nobody knows.</summary>
    private readonly TrialAuthority _partner = new("Partner CA"), _foreign = new("Home CA");

    private static IReadOnlyList<X509Certificate2> HomeAuthorities(LabRun run) => IkeCredentialFiles.ReadCertificates(System.IO.Path.Combine(StoreOf(run, "ha1"), "authorities.pem"));

    private static IkeChildOptions Signalling(IPNetwork homes, IPAddress agent) => new()
    {
        Name = "signalling",
        Mode = ChildMode.Transport,
        OneRemoteAddress = true,
        LocalSelectors = [SelectorNarrowing.Mobility(agent, (byte)MobilityHeaderType.BindingAcknowledgement), SelectorNarrowing.Icmp(agent, (byte)Icmpv6MessageType.MobilePrefixAdvertisement)],
        RemoteSelectors = [TrafficSelector.Of(homes, SelectorNarrowing.MobilityHeader), TrafficSelector.Of(homes, SelectorNarrowing.Icmpv6)],
    };

    private async Task TryAsync(LabRun run, string database, CancellationToken cancellation)
    {
        run.Progress.Step("A stranger tries other people's addresses, certificates that do not hold, and old protocols");
        _tries = LabRun.Now;
        using var store = CredentialStore.Open(StoreOf(run, "st"));
        var own = store.ToCredential()!;
        var homeOfAppliance = IPAddress.Parse(Text(_shown["app"], "homeAddress"));
        IPAddress nobodys = IPAddress.Parse("2001:db8:a:7::10"), spare = new([.. homeOfAppliance.GetAddressBytes()[..8], 0, 0, 0, 0, 0, 0, 0, 0x77]);
        using var taken = X509CertificateLoader.LoadCertificateFromFile(System.IO.Path.Combine(StoreOf(run, "app"), "certificate.pem"));
        var (first, second) = (IPAddress.Parse(First), IPAddress.Parse(Second));

        await TryOneAsync(run, cancellation, "N12", first, own, Outsider, nobodys);
        await TryOneAsync(run, cancellation, "N13", first, own, Outsider, homeOfAppliance);
        await TryOneAsync(run, cancellation, "N13 spare", first, own, Outsider, spare);
        await TryOneAsync(run, cancellation, "N14 over", first, _partner.Issue(Outsider, -40, -10), Outsider, nobodys);
        await TryOneAsync(run, cancellation, "N14 early", first, _partner.Issue(Outsider, 10, 40), Outsider, nobodys);
        await TryOneAsync(run, cancellation, "N14 foreign", first, _foreign.Issue(Outsider, -1, 10), Outsider, nobodys);
        await TryOneAsync(run, cancellation, "N16 refused", first, _partner.Issue("mn9.home.example", -1, 10), "mn9.home.example", nobodys);
        await TryOneAsync(run, cancellation, "N16 allowed", second, _partner.Issue("mn9.home.example", -1, 10), "mn9.home.example", nobodys);
        await TryOneAsync(run, cancellation, "N17 name", first, own, Appliance, homeOfAppliance);
        await TryOneAsync(run, cancellation, "N17 address", first, own, nobodys.ToString(), homeOfAppliance);
        await TryOneAsync(run, cancellation, "N17 range", first, own, Outsider, nobodys, p => p with { Children = [p.Children[0] with { LocalSelectors = [TrafficSelector.Of(IPNetwork.Parse("2001:db8:a:7::/64"), SelectorNarrowing.MobilityHeader)] }] });
        await TryOneAsync(run, cancellation, "H3", first, new IkeCredential(taken, [], own.PrivateKey), Appliance, homeOfAppliance);
        await TryOneAsync(run, cancellation, "H5", first, _foreign.Issue(Appliance, -1, 10), Appliance, homeOfAppliance);
        await TryOneAsync(run, cancellation, "H28 shared key", first, own, Outsider, nobodys, p => p with { Credential = null, Trust = null, PreSharedKey = new KeyMaterial("known to nobody"u8) });
        _oldAnswer = await AskAsync(run, first, OldVersion());
        _newAnswer = await AskAsync(run, first, OldAlgorithms());

        await OperateAsync(run, ["ca", "certificate", "revoke", Convert.ToHexStringLower(own.Certificate.SerialNumberBytes.Span), "--reason", "key-compromise", "--database", database], cancellation);
        await Task.Delay(1100, cancellation);
        await TryOneAsync(run, cancellation, "N15 OCSP", first, own, Outsider, nobodys);
        await TryOneAsync(run, cancellation, "N15 CRL", second, own, Outsider, nobodys);
    }

    private async Task TryOneAsync(LabRun run, CancellationToken cancellation, string name, IPAddress agent, IkeCredential credential, string identity, IPAddress home, Func<IkePeer, IkePeer>? change = null)
    {
        var peer = new IkePeer
        {
            Name = "home-agent",
            Address = agent,
            LocalIdentity = IkeIdentity.Parse(identity),
            RemoteIdentity = IkeIdentity.Of(agent),
            Credential = credential,
            Trust = new TrustAnchors(HomeAuthorities(run)),
            Children =
            [
                new IkeChildOptions
                {
                    Name = "signalling",
                    Mode = ChildMode.Transport,
                    LocalSelectors = [SelectorNarrowing.Mobility(home, (byte)MobilityHeaderType.BindingUpdate)],
                    RemoteSelectors = [SelectorNarrowing.Mobility(agent, (byte)MobilityHeaderType.BindingAcknowledgement)],
                },
            ],
        };
        var from = LabRun.Now;
        var outcome = _tried[name] = await KeyExchangeProbe.InitiateAsync(run.Network.Namespace("st"), IPAddress.Parse(Stranger), change?.Invoke(peer) ?? peer, s_try, cancellation);
        _when[name] = (from, LabRun.Now);
        var refused = await EventsAsync(run, agent.Equals(IPAddress.Parse(First)) ? "ha1" : "ha2", "ike.auth.refused", cancellation);
        _why[name] = refused.Count > 0 && refused[^1].Contains(Stranger, StringComparison.Ordinal) ? refused[^1] : "the home agent says nothing";
        run.Progress.Note($"{name}: {outcome.Reason}; {_why[name]}");
    }

    private static Task<byte[]?> AskAsync(LabRun run, IPAddress agent, byte[] datagram) => KeyExchangeProbe.AskAsync(run.Network.Namespace("st"), IPAddress.Parse(Stranger), agent, datagram, s_silence);

    /// <summary>First message of IKEv1 main mode: header and one SA payload (RFC 2408 3.1, 3.4): 3DES, SHA-1, group 2, signatures.</summary>
    private static byte[] OldVersion()
    {
        byte[] attributes = [0x80, 1, 0, 5, 0x80, 2, 0, 2, 0x80, 3, 0, 3, 0x80, 4, 0, 2];
        byte[] transform = [0, 0, 0, (byte)(8 + attributes.Length), 1, 1, 0, 0, .. attributes];
        byte[] proposal = [0, 0, 0, (byte)(8 + transform.Length), 1, 1, 0, 1, .. transform];
        byte[] sa = [0, 0, 0, (byte)(12 + proposal.Length), 0, 0, 0, 1, 0, 0, 0, 1, .. proposal];
        return Message(nextPayload: 1, version: 0x10, exchange: 2, flags: 0, sa);
    }

    /// <summary>IKE_SA_INIT that offers 3DES, HMAC-SHA1 and group 2 only.</summary>
    private static byte[] OldAlgorithms()
    {
        byte[] transforms = [3, 0, 0, 8, 1, 0, 0, 3, 3, 0, 0, 8, 2, 0, 0, 2, 3, 0, 0, 8, 3, 0, 0, 2, 0, 0, 0, 8, 4, 0, 0, 2];
        byte[] proposal = [0, 0, 0, (byte)(8 + transforms.Length), 1, 1, 0, 4, .. transforms];
        byte[] sa = [34, 0, 0, (byte)(4 + proposal.Length), .. proposal];
        byte[] key = [40, 0, 0, 136, 0, 2, 0, 0, .. RandomNumberGenerator.GetBytes(128)];
        byte[] nonce = [0, 0, 0, 36, .. RandomNumberGenerator.GetBytes(32)];
        return Message(nextPayload: 33, version: 0x20, exchange: 34, flags: 8, [.. sa, .. key, .. nonce]);
    }

    private static byte[] Message(byte nextPayload, byte version, byte exchange, byte flags, byte[] payloads)
    {
        byte[] message = [.. RandomNumberGenerator.GetBytes(8), 0, 0, 0, 0, 0, 0, 0, 0, nextPayload, version, exchange, flags, 0, 0, 0, 0, 0, 0, 0, 0, .. payloads];
        BinaryPrimitives.WriteInt32BigEndian(message.AsSpan(24), message.Length);
        return message;
    }
}
