using Sojourn.Engine.Tls;
using Sojourn.Wire.Eap;

namespace Sojourn.Engine.Eap;

/// <summary>Keys that EAP methods in TLS give (RFC 5216 2.3, RFC 5281 8, RFC 9190 2.3, RFC 9427 2.1).</summary>
internal static class EapKeys
{
    /// <summary>Octets of the Master Session Key.</summary>
    public const int MasterSessionKeyLength = 64;

    /// <summary>What is derived: the Extended Master Session Key behind it. The length counts, for TLS 1.3 makes other keys of other lengths.</summary>
    private const int MaterialLength = 128;

    public static KeyMaterial MasterSessionKey(TlsSession tls, EapType method)
    {
        var material = tls.IsTls13 ? tls.Export("EXPORTER_EAP_TLS_Key_Material"u8, [(byte)method], MaterialLength)
            : tls.Export(method == EapType.Tls ? "client EAP encryption"u8 : "ttls keying material"u8, null, MaterialLength);
        var key = new KeyMaterial(material.Octets[..MasterSessionKeyLength]);
        material.Wipe();
        return key;
    }
}
