namespace Sojourn.Wire.Ikev2;

/// <summary>Bounds of what the IKEv2 codecs accept.</summary>
public static class Ikev2Limits
{
    /// <summary>UDP ports (RFC 7296 2.23).</summary>
    public const int Port = 500, NatTraversalPort = 4500;

    /// <summary>Octets of zero before an IKE message on <see cref="NatTraversalPort"/> (RFC 3948 2.2).</summary>
    public const int NonEspMarkerLength = 4;

    /// <summary>Octets of a message, reassembled or in one datagram. RFC 7296 2 asks for 1280, advises 3000; a chain of certificates with an RSA key of 4096 bits has about 6000.</summary>
    public const int MessageLength = 32768;

    /// <summary>Payloads of one message, in clear or encrypted.</summary>
    public const int Payloads = 64;

    /// <summary>Proposals of an SA payload; transforms of a proposal (RFC 7296 3.3.1 allows 255 of each).</summary>
    public const int Proposals = 32, Transforms = 64;

    /// <summary>Selectors of a TS payload (RFC 7296 3.13 allows 255).</summary>
    public const int Selectors = 64;

    /// <summary>SPIs of a Delete payload, attributes of a Configuration payload.</summary>
    public const int DeletedSpis = 256, ConfigurationAttributes = 64;

    /// <summary>Octets of a nonce (RFC 7296 3.9).</summary>
    public const int ShortestNonce = 16, LongestNonce = 256;

    /// <summary>Fragments of one message (RFC 7383 2.6 leaves the bound to the receiver).</summary>
    public const int Fragments = 64;
}
