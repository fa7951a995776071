using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;

namespace Sojourn.Lab.Scenarios;

/// <summary>
/// One scenario's script and its judgement. <see cref="DriveAsync"/> does things and keeps what only the living lab can
/// show (tables at a moment, ping results); <see cref="Judge"/> reads the captures afterwards and fills the rows.
/// </summary>
public abstract class Scenario
{
    /// <summary>Folder under <c>scenarios/</c>.</summary>
    public abstract string Name { get; }

    public abstract Task DriveAsync(LabRun run, CancellationToken cancellation);

    public abstract void Judge(LabRun run, CaptureSet captures, RowBook rows);

    /// <summary>Ladders for the page and the terminal; the first is the main story.</summary>
    public abstract IReadOnlyList<LadderChapter> Chapters(CaptureSet captures);

    /// <summary>Frames the scenario damaged on purpose, as a tshark display filter over one capture; null = none.</summary>
    public virtual string? Damaged(string link) => "frame.comment";

    /// <summary>Pictures the scenario left in the evidence folder, for the page; the file is relative to that folder.</summary>
    public virtual IReadOnlyList<(string File, string Caption)> Pictures => [];

    /// <summary>Hand-overs for the timeline of the page.</summary>
    public virtual IReadOnlyList<HandOver> HandOvers(CaptureSet captures) => [];

    /// <summary>False where there are more associations than tshark takes keys; ESP then stays closed to it.</summary>
    public virtual bool OpensEsp => true;

    /// <summary>How long driving it may take; a run that hangs ends then and says at which step.</summary>
    public virtual TimeSpan Limit => TimeSpan.FromMinutes(10);

    /// <summary>Mobile IPv4 messages are to be seen in it.</summary>
    public virtual bool SpeaksMobileIpv4 => true;

    /// <summary>Under which row it is reported that no key shows anywhere.</summary>
    public virtual string SecretsRow => "NV-A32";

    /// <summary>Secrets beside those of configuration and associations that must show nowhere.</summary>
    public virtual IReadOnlyList<(string Name, byte[] Octets)> Secrets => [];

    /// <summary>The scenarios that have a script.</summary>
    public static IReadOnlyDictionary<string, Func<Scenario>> All { get; } = new Dictionary<string, Func<Scenario>>
    {
        ["authentication/1"] = () => new Authentication.Authentication1(),
        ["authentication/2"] = () => new Authentication.Authentication2(),
        ["authentication/3"] = () => new Authentication.Authentication3(),
        ["authentication/4"] = () => new Authentication.Authentication4(),
        ["authentication/agents"] = () => new Authentication.AuthenticationAgents(),
        ["authentication/moves"] = () => new Authentication.AuthenticationMoves(),
        ["authentication/devices"] = () => new Authentication.DeviceAuthentication(),
        ["terminal/2"] = () => new Terminal.Terminal2(),
        ["terminal/3"] = () => new Terminal.Terminal3(),
        ["terminal/4"] = () => new Terminal.Terminal4(),
        ["terminal/5"] = () => new Terminal.Terminal5(),
        ["terminal/7"] = () => new Terminal.Terminal7(),
        ["terminal/correspondents"] = () => new Terminal.TerminalCorrespondents(),
        ["terminal/6"] = () => new Terminal.Terminal6(),
        ["terminal/8"] = () => new Terminal.Terminal8(),
        ["terminal/hostile"] = () => new Terminal.TerminalHostile(),
        ["terminal/9"] = () => new Terminal.Terminal9(),
        ["terminal/moves"] = () => new Terminal.TerminalMoves(),
        ["network-vpn/1"] = () => new NetworkVpn1(),
        ["network-vpn/2"] = () => new NetworkVpn2(),
        ["network-vpn/3"] = () => new NetworkVpn3(),
        ["network-vpn/4"] = () => new NetworkVpn4(),
        ["network-vpn/5"] = () => new NetworkVpn5(),
        ["network-vpn/6"] = () => new NetworkVpn6(),
        ["network-vpn/7"] = () => new NetworkVpn7(),
        ["network-vpn/8"] = () => new NetworkVpn8(),
        ["network-vpn/9"] = () => new NetworkVpn9(),
        ["network-vpn/tour"] = () => new NetworkVpnTour(),
        ["network-vpn/crowd"] = () => new NetworkVpnCrowd(),
        ["terminal/1"] = () => new Terminal.Terminal1(),
    };
}

/// <summary>Collects rows and measurements.</summary>
public sealed class RowBook
{
    private readonly List<ReportRow> _rows = [];
    private readonly List<Measurement> _measurements = [];

    public IReadOnlyList<ReportRow> Rows => _rows;

    public IReadOnlyList<Measurement> Measurements => _measurements;

    /// <summary>Notes a row. Several checks of one row are several calls; each stands by itself in the report.</summary>
    public void Check(string id, string text, bool passed, string observed) => _rows.Add(new ReportRow(id, text, passed, observed));

    /// <summary>Notes a row whose check may fail by an exception, which then is what was observed.</summary>
    public void Check(string id, string text, Func<(bool Passed, string Observed)> check)
    {
        try
        {
            var (passed, observed) = check();
            Check(id, text, passed, observed);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            Check(id, text, false, $"could not be judged: {e.Message}");
        }
    }

    /// <summary>Runs a part of a judgement; should it break off, that is a failed row and the other parts still count.</summary>
    public void Part(string name, Action judge)
    {
        try
        {
            judge();
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            Check("LAB", $"the part '{name}' of the judgement comes to its end", false, $"{e.GetType().Name}: {e.Message} {e.StackTrace?.Split('\n').FirstOrDefault()?.Trim()}");
        }
    }

    public void Measure(string name, double value, string unit)
    {
        if (double.IsFinite(value))
        {
            _measurements.Add(new Measurement(name, value, unit));
        }
    }
}
