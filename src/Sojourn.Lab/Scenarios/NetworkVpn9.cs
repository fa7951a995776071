using System.Net;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;

namespace Sojourn.Lab.Scenarios;

/// <summary>NV9: rules that hold everywhere (spec network-vpn section 5), and nodes of every role killed under traffic.</summary>
public sealed partial class NetworkVpn9 : Scenario
{
    private const string AliceNai = "alice@home.example", BobNai = "bob@home.example", CarolNai = "carol@home.example", DoraNai = "dora@home.example", EveNai = "eve@home.example";

    private static readonly IPAddress Alice = IPAddress.Parse("10.99.0.10"), Bob = IPAddress.Parse("10.99.0.11"), Carol = IPAddress.Parse("10.99.0.12"), Dora = IPAddress.Parse("10.99.0.13"),
        Eve = IPAddress.Parse("10.99.0.14"), CompanyHost = IPAddress.Parse("192.168.50.10"), Host = IPAddress.Parse("192.168.60.10"), SecondHost = IPAddress.Parse("192.168.70.10"),
        AuthenticatedHost = IPAddress.Parse("192.168.60.11"), EncapsulatedHost = IPAddress.Parse("192.168.70.11"),
        Agent = IPAddress.Parse("10.0.1.2"), NextAgent = IPAddress.Parse("10.0.11.2"), Home = IPAddress.Parse("10.0.3.2"), Partner = IPAddress.Parse("10.0.4.2"), SecondPartner = IPAddress.Parse("10.0.14.2"),
        Company = IPAddress.Parse("10.0.5.2");

    /// <summary>Every node that may hold something of a user.</summary>
    private static readonly string[] Holders = ["fa1", "fa2", "ha", "pcn", "pcn2", "aaaf", "aaah"];

    private readonly Tables _tables = new();

    public override string Name => "network-vpn/9";

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        await UsersAsync(run, cancellation);
        await SharedAssociationAsync(run, cancellation);
        await UnreachableGatewayAsync(run, cancellation);
        await SizesAsync(run, cancellation);
        await RenewalAsync(run, cancellation);
        await ImpostorAsync(run, cancellation);
        await ForgeryAsync(run, cancellation);
        await MovesAsync(run, cancellation);
        foreach (var node in (string[])["ha", "fa1", "pcn", "sgw", "aaaf", "aaah"])
        {
            _crashes.Add(await CrashAsync(run, node, cancellation));
        }

        await DeparturesAsync(run, cancellation);
    }

    /// <summary>A restarted sender leaps on purpose (decision 0005), which tshark takes for lost packets.</summary>
    public override string? Damaged(string link) => "frame.comment || esp.sequence-analysis.wrong-sequence-number";

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures)
    {
        var chapters = new List<LadderChapter>();
        if (_alice?.Replied is { } replied)
        {
            chapters.Add(new LadderChapter("Alice: one static and four dynamic profiles", Ladder.Of(captures, _alice.From, replied, Alice)));
        }

        if (_again?.Replied is { } renewed)
        {
            chapters.Add(new LadderChapter("Alice registers again where she is", Ladder.Of(captures, _again.From, renewed, Alice)));
        }

        foreach (var (move, title) in ((SeenRegistration?, string)[])
            [(_moved, "Alice moves, and the visited AAA server has lost everything"), (_spoiled, "Alice moves, and her MN-HA authenticator is wrong"), (_unreached, "Alice moves, and the old agent cannot be reached")])
        {
            if (move?.Replied is { } answered)
            {
                chapters.Add(new LadderChapter(title, Ladder.Of(captures, move.From, answered, Alice)));
            }
        }

        chapters.AddRange(_crashes.Select(c => new LadderChapter($"{c.Node} is killed and comes back", Ladder.Of(captures, c.Killed, c.Flowing ?? c.Began, Alice))));
        return chapters;
    }

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        rows.Part("Users", () => Users(captures, rows));
        rows.Part("Installed", () => Installed(captures, rows));
        rows.Part("Shared", () => Shared(captures, rows));
        rows.Part("SecurityTypes", () => SecurityTypes(captures, rows));
        rows.Part("Unreachable", () => Unreachable(captures, rows));
        rows.Part("Sizes", () => Sizes(captures, rows));
        rows.Part("Renewal", () => Renewal(captures, rows));
        rows.Part("Impostor", () => Impostor(captures, rows));
        rows.Part("Forgery", () => Forgery(captures, rows));
        rows.Part("Moves", () => Moves(captures, rows));
        rows.Part("Replay", () => Replay(captures, rows));
        rows.Part("Spoiled", () => Spoiled(captures, rows));
        foreach (var crash in _crashes)
        {
            rows.Part("Crash of " + crash.Node, () => Crashes(captures, rows, crash));
        }

        rows.Part("Nonces", () => Nonces(captures, rows));
        rows.Part("Departures", () => Departures(rows));
    }
}
