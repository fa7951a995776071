using Sojourn.Wire.Ip;

namespace Sojourn.Engine.Ipsec;

/// <summary>ECN at the tunnel's end (RFC 6040 4.2). At its start the outer field is a copy (normal mode, 4.1).</summary>
public static class EcnTunnel
{
    /// <summary>
    /// Traffic class of the delivered packet: the inner DSCP with the combined ECN field; null = drop, because the
    /// sender does not take marks and dropping is the only way to tell it of congestion.
    /// </summary>
    /// <param name="unexpected">A combination no sound tunnel makes (RFC 6040 figure 4): worth a counter.</param>
    public static byte? Decapsulate(byte outer, byte inner, out bool unexpected)
    {
        var outerEcn = outer & Ecn.Mask;
        var innerEcn = inner & Ecn.Mask;
        unexpected = (innerEcn, outerEcn) is (Ecn.NotCapable, not Ecn.NotCapable) or (Ecn.Capable1, Ecn.Capable0)
            or (Ecn.CongestionExperienced, Ecn.Capable1);
        var combined = (innerEcn, outerEcn) switch
        {
            (Ecn.NotCapable, Ecn.CongestionExperienced) => -1,
            (Ecn.NotCapable, _) => Ecn.NotCapable,
            (_, Ecn.CongestionExperienced) => Ecn.CongestionExperienced,
            (Ecn.Capable0, Ecn.Capable1) => Ecn.Capable1,
            _ => innerEcn,
        };
        return combined < 0 ? null : (byte)((inner & ~Ecn.Mask) | combined);
    }
}
