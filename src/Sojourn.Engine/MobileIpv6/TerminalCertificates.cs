using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization;
using Sojourn.Engine.Dhcpv6;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>A row of the public key certification control table (spec D6).</summary>
/// <param name="Identifier">Whom the certificate names, in canonical form.</param>
/// <param name="Certificate">DER.</param>
public sealed record TerminalCertificate(IPAddress HomeAddress, string Identifier, ReadOnlyMemory<byte> Certificate, DateTimeOffset Kept);

/// <summary>
/// The certificates of terminals whose home addresses no delegating router hands out (spec D6, embodiment 4): one row for a home
/// address and one for an identifier (G21). Whoever has a home address keeps it until its identifier is withdrawn, or takes another (G20).
/// </summary>
public sealed class TerminalCertificates
{
    internal const string Table = "certificate6";

    private readonly Dictionary<IPAddress, TerminalCertificate> _byHome = [];
    private readonly Dictionary<string, TerminalCertificate> _byIdentifier = new(StringComparer.Ordinal);

    public int Count => _byHome.Count;

    public IEnumerable<TerminalCertificate> Rows => _byHome.Values;

    public TerminalCertificate? Find(IPAddress homeAddress) => _byHome.GetValueOrDefault(homeAddress);

    public TerminalCertificate? Find(string identifier) => _byIdentifier.GetValueOrDefault(identifier);

    /// <summary>
    /// Whether a terminal that has proved its identifier may have a home address: it lies in a home prefix and is nobody else's (spec
    /// G20). In the terms of query Q2, which it stands in for.
    /// </summary>
    public PrefixAllocation Judge(IPAddress homeAddress, string identifier, IEnumerable<HomePrefix> prefixes, DateTimeOffset now)
    {
        var prefix = prefixes.Where(p => p.IsValid(now) && p.Prefix.Contains(homeAddress)).MaxBy(p => p.Prefix.PrefixLength);
        if (prefix is null)
        {
            return PrefixAllocation.None;
        }

        var owns = Find(homeAddress) is not { } row || row.Identifier == identifier;
        return new PrefixAllocation(Allocated: true, owns, owns ? prefix.Prefix : null, prefix.ValidUntil);
    }

    /// <summary>Adds or rewrites the row of a terminal (spec TA4.171); its row for another home address goes. False: the address is somebody else's and nothing has changed.</summary>
    internal bool Keep(TerminalCertificate row, EffectSink effects)
    {
        if (Find(row.HomeAddress) is { } present && present.Identifier != row.Identifier)
        {
            return false;
        }

        if (Find(row.Identifier) is { } former && !former.HomeAddress.Equals(row.HomeAddress))
        {
            Remove(former, effects);
        }

        Add(row);
        effects.Emit(new SaveState(KeyOf(row.HomeAddress), Write(row)));
        return true;
    }

    internal bool Remove(string identifier, EffectSink effects)
    {
        if (Find(identifier) is not { } row)
        {
            return false;
        }

        Remove(row, effects);
        return true;
    }

    internal void Restore(IReadOnlyList<SavedState> state, EffectSink effects)
    {
        foreach (var saved in state.Where(s => s.Key.Table == Table))
        {
            if (Read(saved.Value) is { } row && !_byHome.ContainsKey(row.HomeAddress) && !_byIdentifier.ContainsKey(row.Identifier))
            {
                Add(row);
            }
            else
            {
                effects.Emit(new DropState(saved.Key));
            }
        }
    }

    private static StateKey KeyOf(IPAddress home) => new(Table, home.ToString());

    private void Add(TerminalCertificate row)
    {
        _byHome[row.HomeAddress] = row;
        _byIdentifier[row.Identifier] = row;
    }

    private void Remove(TerminalCertificate row, EffectSink effects)
    {
        _byHome.Remove(row.HomeAddress);
        _byIdentifier.Remove(row.Identifier);
        effects.Emit(new DropState(KeyOf(row.HomeAddress)));
    }

    private static byte[] Write(TerminalCertificate row) => JsonSerializer.SerializeToUtf8Bytes(new Fields(row.HomeAddress.ToString(), row.Identifier, row.Certificate.ToArray(), row.Kept), TerminalCertificateJson.Default.Fields);

    private static TerminalCertificate? Read(ReadOnlyMemory<byte> octets)
    {
        try
        {
            return JsonSerializer.Deserialize(octets.Span, TerminalCertificateJson.Default.Fields) is { Home: { } home, Identifier: { } identifier, Certificate: { } certificate } fields
                ? new TerminalCertificate(IPAddress.Parse(home), identifier, certificate, fields.Kept)
                : null;
        }
        catch (Exception e) when (e is JsonException or FormatException)
        {
            return null;
        }
    }

    internal sealed record Fields(string? Home, string? Identifier, byte[]? Certificate, DateTimeOffset Kept);
}

[JsonSerializable(typeof(TerminalCertificates.Fields))]
internal sealed partial class TerminalCertificateJson : JsonSerializerContext;

/// <summary>
/// A terminal has proved itself with this certificate and may have the home address (spec TA4.171). Given only after its signature
/// was found right and <see cref="TerminalCertificates.Judge"/> has agreed; refused again here when the address is somebody else's.
/// </summary>
public sealed record KeepCertificate(IPAddress HomeAddress, string Identifier, ReadOnlyMemory<byte> Certificate) : EngineInput;

/// <summary>A terminal is no terminal of this home agent any more (event Q3, or an operator's word): its row goes, and others may have the home address.</summary>
public sealed record ForgetCertificate(string Identifier) : EngineCommand;
