using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;

namespace Sojourn.Lab.Scenarios;

/// <summary>NV4: first registration, dynamic gateway.</summary>
public sealed class NetworkVpn4 : Scenario
{
    public override string Name => "network-vpn/4";

    public override Task DriveAsync(LabRun run, CancellationToken cancellation) => throw new NotImplementedException();

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows) => throw new NotImplementedException();

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures) => throw new NotImplementedException();
}
