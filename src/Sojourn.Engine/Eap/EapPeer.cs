using System.Security.Cryptography;
using System.Text;
using Sojourn.Engine.Tls;
using Sojourn.Wire.Eap;
using Sojourn.Wire.Radius;

namespace Sojourn.Engine.Eap;

public sealed record EapPeerOptions
{
    /// <summary>What is said in clear; leads to the right server and need not name the user.</summary>
    public required string OuterIdentity { get; init; }

    /// <summary>The methods this peer takes. None: it only says who it is, and takes the network's word for the result.</summary>
    public required IReadOnlyList<EapType> Methods { get; init; }

    /// <summary>With the server's trust anchors, and for EAP-TLS the own certificate. Needed for every method.</summary>
    public TlsContext? Tls { get; init; }

    /// <summary>DNS name of the authentication server's certificate; null: any that the anchors vouch for.</summary>
    public string? ServerName { get; init; }

    /// <summary>For EAP-TTLS.</summary>
    public string User { get; init; } = "";

    public KeyMaterial? Password { get; init; }

    public int FragmentLength { get; init; } = 1000;
}

public enum EapPeerState : byte
{
    Running,
    Succeeded,
    Failed,
}

/// <summary>
/// The peer's side of one EAP conversation. The password leaves only inside a tunnel whose server has proved itself
/// (row TA-M54); EAP-Success counts only after the method has come to its end (RFC 3748 4.2).
/// </summary>
public sealed class EapPeer(EapPeerOptions options) : IDisposable
{
    private readonly EapTlsFraming _framing = new(options.FragmentLength);
    private EapType _method;
    private TlsSession? _tls;
    private bool _complete;
    private EapPacket? _last;

    public EapPeerState State { get; private set; }

    /// <summary>64 octets, after a method's success.</summary>
    public KeyMaterial? MasterSessionKey { get; private set; }

    public string Reason { get; private set; } = "";

    /// <summary>The response; null when there is none to give.</summary>
    public EapPacket? Receive(EapPacket packet, DateTimeOffset now)
    {
        if (State != EapPeerState.Running)
        {
            return null;
        }

        switch (packet.Code)
        {
            case EapCode.Success when _complete:
                MasterSessionKey = EapKeys.MasterSessionKey(_tls!, _method);
                State = EapPeerState.Succeeded;
                Dispose();
                return null;
            case EapCode.Success when options.Methods.Count == 0 && _last is not null:
                State = EapPeerState.Succeeded;
                return null;
            case EapCode.Failure:
                Fail(Reason.Length > 0 ? Reason : "the server refuses");
                return null;
            case EapCode.Request when _last is not null && packet.Identifier == _last.Identifier && _last.Type == packet.Type:
                return _last; // repeated (RFC 3748 4.1)
            case EapCode.Request:
                return _last = Answer(packet, now);
            default:
                return null;
        }
    }

    public void Dispose()
    {
        _tls?.Dispose();
        _tls = null;
    }

    private EapPacket Answer(EapPacket request, DateTimeOffset now)
    {
        EapPacket Response(EapType type, byte[] data) => new(EapCode.Response, request.Identifier, type, data);
        switch (request.Type)
        {
            case EapType.Identity:
                return Response(EapType.Identity, Encoding.UTF8.GetBytes(options.OuterIdentity));
            case EapType.Notification:
                return Response(EapType.Notification, []);
        }

        if (!options.Methods.Contains(request.Type) || (_method != EapType.None && request.Type != _method))
        {
            return Response(EapType.Nak, options.Methods.Count == 0 ? [0] : [.. options.Methods.Select(m => (byte)m)]);
        }

        if (!EapTlsFragment.TryParse(request.Data.Span, out var fragment, out var error))
        {
            Fail(error.ToString());
            return Response(EapType.Nak, [0]);
        }

        if (fragment.Start)
        {
            _method = request.Type;
            _tls?.Dispose();
            _tls = options.Tls!.Connect(options.ServerName, now);
            _tls.Receive([]);
            _framing.Load(_tls.TakeOutput());
        }
        else
        {
            var flight = Array.Empty<byte>();
            switch (_tls is null ? FramingResult.Malformed : _framing.Take(fragment, out flight))
            {
                case FramingResult.Malformed:
                    Fail("the server's fragments do not fit together");
                    return Response(request.Type, EapTlsFragment.Acknowledgement.ToArray());
                case FramingResult.Flight:
                    _framing.Load(Advance(_tls!, flight));
                    break;
            }
        }

        return Response(request.Type, _framing.Next().ToArray());
    }

    private byte[] Advance(TlsSession tls, byte[] flight)
    {
        switch (tls.Receive(flight))
        {
            case TlsProgress.Failed:
                Reason = $"TLS: {tls.Failure}";
                return tls.TakeOutput();
            case TlsProgress.Continues:
                return tls.TakeOutput();
        }

        var data = tls.Read();
        if (_method == EapType.Tls)
        {
            // With TLS 1.3 the server has to commit itself; before that its Success is nobody's (RFC 9190 2.1.1).
            _complete = !tls.IsTls13 || (data is [0]);
        }
        else if (!_complete)
        {
            var password = options.Password is { } known ? known.Octets.ToArray() : [];
            byte[] padded = [.. password, .. new byte[(16 - (password.Length % 16)) % 16]];
            var avps = TtlsAvp.Write(
            [
                new TtlsAvp((uint)RadiusAttributeType.UserName, null, true, Encoding.UTF8.GetBytes(options.User)),
                new TtlsAvp((uint)RadiusAttributeType.UserPassword, null, true, padded),
            ]);
            tls.Write(avps);
            CryptographicOperations.ZeroMemory(password);
            CryptographicOperations.ZeroMemory(padded);
            CryptographicOperations.ZeroMemory(avps);
            _complete = true;
        }

        return tls.TakeOutput();
    }

    private void Fail(string reason)
    {
        State = EapPeerState.Failed;
        Reason = reason;
        Dispose();
    }
}
