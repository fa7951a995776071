using System.Globalization;
using Microsoft.AspNetCore.Http;
using Sojourn.Storage;

namespace Sojourn.Host.Control;

/// <summary>Accounting of a home AAA server.</summary>
internal sealed partial class ControlEndpoints
{
    private const int MostRecords = 10_000;

    private static readonly Parameter[] UsageParameters =
    [
        new("nai", "User"), new("since", "From this day or time on (UTC), e.g. 2026-11-01"), new("until", "Before this day or time (UTC)"),
    ];

    private async Task Usage(HttpContext context)
    {
        if (Question(context, out var question) is { } wrong)
        {
            await Refuse(context, wrong).ConfigureAwait(false);
            return;
        }

        var days = host.Node.Role.Usage?.Days(question) ?? [];
        var totals = days.GroupBy(d => (d.Nai, d.Meter)).OrderBy(g => g.Key.Nai, StringComparer.Ordinal).ThenBy(g => g.Key.Meter).Select(group =>
        {
            var sum = group.Aggregate(default(Engine.UsageFigures), (figures, day) => figures + day.Figures);
            return new UsageTotalView(group.Key.Nai, group.Key.Meter, sum.PacketsUp, sum.OctetsUp, sum.PacketsDown, sum.OctetsDown);
        });
        await Answer(context, new UsageDocument(Node,
            [.. days.Select(d => new UsageView(
                d.Day, d.Nai, d.Meter, d.ProfileNumber, ClassOf(d.UpTos), ClassOf(d.DownTos), d.Figures.PacketsUp, d.Figures.OctetsUp, d.Figures.PacketsDown, d.Figures.OctetsDown))],
            [.. totals])).ConfigureAwait(false);
    }

    private async Task UsageCharges(HttpContext context)
    {
        var query = context.Request.Query;
        var wrong = Question(context, out var question);
        long after = 0;
        var count = 1000;
        if (query.TryGetValue("after", out var id) && !long.TryParse(id, NumberStyles.None, CultureInfo.InvariantCulture, out after))
        {
            wrong ??= ($"'{id}' is not an id", "the `next` of an earlier answer");
        }

        if (query.TryGetValue("count", out var number) && (!int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out count) || count is 0 or > MostRecords))
        {
            wrong ??= ($"'{number}' is not a count", $"1 to {MostRecords}");
        }

        if (wrong is { } reason)
        {
            await Refuse(context, reason).ConfigureAwait(false);
            return;
        }

        var charges = host.Node.Role.Usage?.Charges(question, after, count) ?? [];
        await Answer(context, new UsageChargesDocument(Node,
            [.. charges.Select(c => new UsageChargeView(
                c.Id, c.At, c.Type, c.Nai, c.HomeAddress, c.MobilitySession, c.Session, c.Number, c.OriginHost, c.OriginRealm, c.Meter, c.SessionKnown, c.SessionTime,
                c.ProfileNumber, ClassOf(c.UpTos), ClassOf(c.DownTos), c.Revision, c.Figures.PacketsUp, c.Figures.OctetsUp, c.Figures.PacketsDown, c.Figures.OctetsDown))],
            charges.Count == 0 ? null : charges[^1].Id)).ConfigureAwait(false);
    }

    /// <summary>The service class a TOS octet stands for at this server.</summary>
    private int? ClassOf(byte tos) => host.Node.Options.Aaa?.ClassDscp.IndexOf(tos >> 2) is >= 0 and var found ? found : null;

    private static (string Error, string Allowed)? Question(HttpContext context, out UsageQuestion question)
    {
        var query = context.Request.Query;
        question = new UsageQuestion(query.TryGetValue("nai", out var nai) ? nai.ToString() : null);
        foreach (var name in new[] { "since", "until" })
        {
            if (!query.TryGetValue(name, out var text))
            {
                continue;
            }

            if (!DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time))
            {
                return ($"{name}: '{text}' is not a day or time", "2026-11-01, or 2026-11-01T08:00:00Z");
            }

            question = name == "since" ? question with { Since = time } : question with { Until = time };
        }

        return null;
    }
}
