using System.Text;
using Sojourn.Wire.Eap;

namespace Sojourn.Wire.Tests.Eap;

/// <summary>Messages made by our writers.</summary>
public static class EapSamples
{
    public static IReadOnlyList<EapPacket> Packets { get; } =
    [
        new(EapCode.Request, 1, EapType.Identity, default),
        new(EapCode.Response, 1, EapType.Identity, Encoding.UTF8.GetBytes("anonymous@home.example")),
        new(EapCode.Response, 2, EapType.Nak, new byte[] { 21, 13 }),
        new(EapCode.Request, 3, EapType.Ttls, new EapTlsFragment(null, false, true, 0, default).ToArray()),
        new(EapCode.Response, 3, EapType.Ttls, Fragments[1].ToArray()),
        EapPacket.Success(9),
        EapPacket.Failure(10),
    ];

    public static IReadOnlyList<EapTlsFragment> Fragments =>
    [
        new(null, false, true, 0, default),
        new(600, true, false, 0, new byte[200]),
        new(null, true, false, 0, new byte[] { 1, 2, 3 }),
        EapTlsFragment.Acknowledgement,
    ];

    public static IReadOnlyList<TtlsAvp> Avps { get; } =
    [
        new(1, null, true, Encoding.UTF8.GetBytes("alice")),
        new(2, null, true, Encoding.UTF8.GetBytes("correct horse\0\0\0")),
        new(11, 311, false, new byte[] { 1 }),
    ];

    public static IReadOnlyList<EapolFrame> Eapol { get; } = [new(2, EapolType.Start, default), new(1, EapolType.Eap, Packets[1].ToArray())];
}
