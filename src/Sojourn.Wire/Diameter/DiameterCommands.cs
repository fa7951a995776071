namespace Sojourn.Wire.Diameter;

/// <summary>Names a command: commands are the same number in request and answer.</summary>
public readonly record struct DiameterCommand(uint ApplicationId, uint Code);

public static class DiameterApplications
{
    public const uint Common = 0;
    public const uint MobileIpv4 = 2;
    public const uint BaseAccounting = 3;
    public const uint Relay = 0xFFFF_FFFF;
}

/// <summary>Commands of RFC 6733 section 3.1 and RFC 4004 section 5.</summary>
public static class DiameterCommands
{
    public static readonly DiameterCommand CapabilitiesExchange = new(DiameterApplications.Common, 257);
    public static readonly DiameterCommand ReAuth = new(DiameterApplications.Common, 258);
    public static readonly DiameterCommand AaMobileNode = new(DiameterApplications.MobileIpv4, 260);
    public static readonly DiameterCommand HomeAgentMip = new(DiameterApplications.MobileIpv4, 262);
    public static readonly DiameterCommand Accounting = new(DiameterApplications.BaseAccounting, 271);
    public static readonly DiameterCommand AbortSession = new(DiameterApplications.Common, 274);
    public static readonly DiameterCommand SessionTermination = new(DiameterApplications.Common, 275);
    public static readonly DiameterCommand DeviceWatchdog = new(DiameterApplications.Common, 280);
    public static readonly DiameterCommand DisconnectPeer = new(DiameterApplications.Common, 282);
}
