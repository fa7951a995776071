namespace Sojourn.Engine;

/// <summary>
/// What a path's packets are counted for. The count belongs to the user's profile and not to the path, so that it goes on
/// when paths are replaced, renamed or share a profile. Counted are inner IP packets with their whole length.
/// </summary>
/// <param name="Session">Mobility session.</param>
/// <param name="ProfileNumber">0 for what no profile selects (the plain Mobile IP tunnel).</param>
/// <param name="UpTos">TOS octet of the profile's service class towards the correspondent; a change of class starts another count.</param>
/// <param name="DownTos">The same towards the user.</param>
/// <param name="SendsUp">Whether what this path sends comes from the user: true at a foreign agent, false on a home agent's leg to it.</param>
public sealed record PathMeter(string Session, uint ProfileNumber, byte UpTos, byte DownTos, bool SendsUp);

/// <summary>Packets and octets, up = from the mobile node.</summary>
public readonly record struct UsageFigures(ulong PacketsUp, ulong OctetsUp, ulong PacketsDown, ulong OctetsDown)
{
    public bool IsZero => this == default;

    public static UsageFigures operator +(UsageFigures a, UsageFigures b) =>
        new(a.PacketsUp + b.PacketsUp, a.OctetsUp + b.OctetsUp, a.PacketsDown + b.PacketsDown, a.OctetsDown + b.OctetsDown);
}

/// <summary>What one profile of a mobility session carried. <paramref name="Revision"/> is the latest it was carried under.</summary>
public sealed record ProfileUsage(uint ProfileNumber, byte UpTos, byte DownTos, ulong Revision, UsageFigures Figures);

/// <summary>Asks the packet path what it has carried since it was asked last; answered by <see cref="UsageRead"/> with the same number.</summary>
public sealed record ReadUsage(long Number) : Effect;

/// <summary>What the packet path has carried since the reading before. Handed over once: whoever takes it adds it up.</summary>
public sealed record UsageRead(long Number, IReadOnlyList<(string Session, ProfileUsage Usage)> Carried) : EngineInput;
