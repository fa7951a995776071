namespace Sojourn.Wire.Diameter;

/// <summary>The VPN attributes of docs/wire-extensions.md section 1 under one enterprise number.</summary>
public sealed class VpnAvpKeys(uint enterpriseNumber)
{
    /// <summary>The documentation placeholder of RFC 5612.</summary>
    public const uint DefaultEnterpriseNumber = 32473;

    public static readonly VpnAvpKeys Default = new(DefaultEnterpriseNumber);

    public uint EnterpriseNumber { get; } = enterpriseNumber;

    public AvpKey VpnProfile { get; } = new(1, enterpriseNumber);

    public AvpKey VpnProfileCount { get; } = new(2, enterpriseNumber);

    public AvpKey ProfileCache { get; } = new(3, enterpriseNumber);

    public AvpKey PreviousFaAddress { get; } = new(4, enterpriseNumber);

    public AvpKey ServiceUpdateRequest { get; } = new(5, enterpriseNumber);

    public AvpKey WrappedKey { get; } = new(6, enterpriseNumber);

    public AvpKey VpnProfileNumber { get; } = new(7, enterpriseNumber);

    public AvpKey VpnView { get; } = new(8, enterpriseNumber);

    public AvpKey VpnSourceAddress { get; } = new(9, enterpriseNumber);

    public AvpKey VpnSourcePrefixLength { get; } = new(10, enterpriseNumber);

    public AvpKey VpnDestinationAddress { get; } = new(11, enterpriseNumber);

    public AvpKey VpnDestinationPrefixLength { get; } = new(12, enterpriseNumber);

    public AvpKey VpnUpTos { get; } = new(13, enterpriseNumber);

    public AvpKey VpnDownTos { get; } = new(14, enterpriseNumber);

    public AvpKey VpnSecurityType { get; } = new(15, enterpriseNumber);

    public AvpKey VpnSourceGateway { get; } = new(16, enterpriseNumber);

    public AvpKey VpnDestinationGateway { get; } = new(17, enterpriseNumber);

    public AvpKey VpnGatewayType { get; } = new(18, enterpriseNumber);

    public AvpKey VpnUpSpi { get; } = new(19, enterpriseNumber);

    public AvpKey VpnDownSpi { get; } = new(20, enterpriseNumber);

    public AvpKey VpnAlgorithm { get; } = new(21, enterpriseNumber);

    public AvpKey VpnKeying { get; } = new(22, enterpriseNumber);

    public AvpKey VpnFreshness { get; } = new(23, enterpriseNumber);

    public AvpKey VpnProfileRevision { get; } = new(24, enterpriseNumber);

    public AvpKey VpnKeyExpiry { get; } = new(25, enterpriseNumber);

    public AvpKey VpnSupplier { get; } = new(26, enterpriseNumber);

    public AvpKey VpnTrigger { get; } = new(27, enterpriseNumber);

    public AvpKey VpnMsaAlgorithm { get; } = new(28, enterpriseNumber);

    public AvpKey VpnRefusalReason { get; } = new(29, enterpriseNumber);

    public AvpKey VpnMsaSpi { get; } = new(30, enterpriseNumber);

    public AvpKey VpnProfileUsage { get; } = new(31, enterpriseNumber);
}
