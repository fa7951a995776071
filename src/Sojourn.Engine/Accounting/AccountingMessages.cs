using System.Diagnostics.CodeAnalysis;
using System.Net;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Accounting;

/// <summary>
/// Accounting records as ACRs and back (RFC 6733 section 9.7, RFC 4004 sections 10 and 11.2; application 2, as RFC 4004 section 3
/// asks for). Input is what came from the user.
/// </summary>
internal sealed class AccountingMessages(DiameterDictionary dictionary)
{
    /// <summary>More packets or octets than this are nobody's traffic; sums of rows stay far from wrapping, and JSON shows every digit.</summary>
    private const ulong MaximumFigure = 1UL << 53;

    private readonly VpnAvpKeys _keys = new(dictionary.EnterpriseNumber ?? VpnAvpKeys.DefaultEnterpriseNumber);

    public DiameterMessage Write(AccountingRecord record, string identity, string realm)
    {
        var request = dictionary.Request(DiameterCommands.Accounting, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.SessionId, record.Session)
            .Add(AvpKeys.OriginHost, identity)
            .Add(AvpKeys.OriginRealm, realm)
            .Add(AvpKeys.DestinationRealm, Nai.RealmOf(record.Nai)!)
            .Add(AvpKeys.AccountingRecordType, (long)record.Type)
            .Add(AvpKeys.AccountingRecordNumber, record.Number)
            .Add(AvpKeys.AcctApplicationId, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.UserName, record.Nai)
            .Add(AvpKeys.AcctMultiSessionId, record.MobilitySession)
            .Add(AvpKeys.EventTimestamp, record.At)
            .Add(AvpKeys.AcctSessionTime, record.SessionTime)
            .Add(AvpKeys.MipMobileNodeAddress, record.HomeAddress);
        if (record.HomeAgent is { } agent)
        {
            request.Add(AvpKeys.MipHomeAgentAddress, agent);
        }

        Add(request, record.Total);
        foreach (var row in record.Profiles)
        {
            request.AddGroup(_keys.VpnProfileUsage, group =>
            {
                group.Add(_keys.VpnProfileNumber, row.ProfileNumber);
                group.Add(_keys.VpnProfileRevision, row.Revision);
                group.Add(_keys.VpnUpTos, row.UpTos);
                group.Add(_keys.VpnDownTos, row.DownTos);
                Add(group, row.Figures);
            });
        }

        return request.Build();
    }

    /// <param name="now">When the record was made, if it does not say.</param>
    /// <param name="refusal">Set when false.</param>
    public bool TryRead(DiameterMessage message, DateTimeOffset now, [NotNullWhen(true)] out AccountingRecord? record, [NotNullWhen(false)] out Refusal? refusal)
    {
        record = null;
        var avps = message.Avps;
        if (!avps.TryGetInteger32(AvpKeys.AccountingRecordType, out var type) || !Enum.IsDefined((AccountingRecordType)type))
        {
            refusal = new Refusal(RefusalKind.InvalidValue, "RFC 6733 9.5", "a mobility session has START, INTERIM and STOP records");
            return false;
        }

        if (message.SessionId is not { } session || !avps.TryGetUnsigned32(AvpKeys.AccountingRecordNumber, out var number)
            || !avps.TryGetText(AvpKeys.UserName, out var nai) || !avps.TryGetText(AvpKeys.AcctMultiSessionId, out var mobility)
            || !avps.TryGetUnsigned32(AvpKeys.AcctSessionTime, out var seconds) || !TryReadFigures(avps, out var total))
        {
            refusal = new Refusal(RefusalKind.Missing, "RFC 4004 11.2", "the record lacks user, mobility session, time or figures");
            return false;
        }

        var rows = new List<ProfileUsage>();
        foreach (var avp in avps.All(_keys.VpnProfileUsage))
        {
            if (!avp.TryReadGroup(DiameterLimits.Default, out var members, out _) || !members.TryGetUnsigned32(_keys.VpnProfileNumber, out var profile)
                || !TryReadTos(members, _keys.VpnUpTos, out var up) || !TryReadTos(members, _keys.VpnDownTos, out var down) || !TryReadFigures(members, out var figures) || !IsPlausible(figures)
                || rows.Exists(r => r.ProfileNumber == profile && r.UpTos == up && r.DownTos == down))
            {
                refusal = new Refusal(RefusalKind.InvalidValue, "wire-extensions 1", "a VPN-Profile-Usage cannot be read, or stands twice");
                return false;
            }

            members.TryGetUnsigned64(_keys.VpnProfileRevision, out var revision);
            rows.Add(new ProfileUsage(profile, up, down, revision, figures));
        }

        // A standard agent without the VPN attributes still accounts: everything is of no profile.
        if (rows.Count == 0 && !total.IsZero)
        {
            rows.Add(new ProfileUsage(0, 0, 0, 0, total));
        }

        if (!IsPlausible(total) || rows.Aggregate(default(UsageFigures), (sum, row) => sum + row.Figures) != total)
        {
            refusal = new Refusal(RefusalKind.InvalidValue, "wire-extensions 1", "the figures cannot be, or the profiles do not add up to the total");
            return false;
        }

        refusal = null;
        record = new AccountingRecord
        {
            Session = session,
            Number = number,
            Type = (AccountingRecordType)type,
            MobilitySession = mobility,
            Nai = Nai.Normalise(nai),
            HomeAddress = avps.TryGetAddress(AvpKeys.MipMobileNodeAddress, out var home) ? home : IPAddress.Any,
            HomeAgent = avps.TryGetAddress(AvpKeys.MipHomeAgentAddress, out var agent) ? agent : null,
            At = avps.TryGetTime(AvpKeys.EventTimestamp, out var at) ? at : now,
            SessionTime = seconds,
            Total = total,
            Profiles = rows,
        };
        return true;
    }

    private static void Add(AvpListBuilder avps, UsageFigures figures) => avps
        .Add(AvpKeys.AccountingInputOctets, figures.OctetsUp)
        .Add(AvpKeys.AccountingOutputOctets, figures.OctetsDown)
        .Add(AvpKeys.AccountingInputPackets, figures.PacketsUp)
        .Add(AvpKeys.AccountingOutputPackets, figures.PacketsDown);

    private static bool TryReadFigures(AvpList avps, out UsageFigures figures)
    {
        var there = avps.TryGetUnsigned64(AvpKeys.AccountingInputOctets, out var octetsUp) & avps.TryGetUnsigned64(AvpKeys.AccountingOutputOctets, out var octetsDown)
            & avps.TryGetUnsigned64(AvpKeys.AccountingInputPackets, out var packetsUp) & avps.TryGetUnsigned64(AvpKeys.AccountingOutputPackets, out var packetsDown);
        figures = new UsageFigures(packetsUp, octetsUp, packetsDown, octetsDown);
        return there;
    }

    private static bool IsPlausible(UsageFigures figures) =>
        Math.Max(Math.Max(figures.OctetsUp, figures.OctetsDown), Math.Max(figures.PacketsUp, figures.PacketsDown)) <= MaximumFigure;

    private static bool TryReadTos(AvpList avps, AvpKey key, out byte tos)
    {
        var readable = !avps.Contains(key) | (avps.TryGetUnsigned32(key, out var value) && value <= byte.MaxValue);
        tos = (byte)value;
        return readable;
    }
}
