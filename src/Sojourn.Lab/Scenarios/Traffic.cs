using System.Net;

namespace Sojourn.Lab.Scenarios;

/// <summary>Traffic during one part of a scenario: numbered datagrams down to a mobile node, and pings both ways.</summary>
internal sealed class Traffic : IAsyncDisposable
{
    public static readonly TimeSpan FlowInterval = TimeSpan.FromMilliseconds(1), PingInterval = TimeSpan.FromMilliseconds(10);

    private readonly Flow _flow;
    private readonly Task<PingResult> _up, _down;

    private Traffic(string name, Flow flow, Task<PingResult> up, Task<PingResult> down) => (Name, _flow, _up, _down) = (name, flow, up, down);

    public string Name { get; }

    public uint Sent => _flow.Sent;

    public IReadOnlyDictionary<uint, int> Taken => _flow.Taken;

    public PingResult Up => _up.Result;

    public PingResult Down => _down.Result;

    public long From { get; } = LabRun.Now;

    public long To { get; private set; }

    /// <summary>A ping every ten milliseconds both ways and a thousand datagrams per second down.</summary>
    /// <param name="octets">UDP payload of a datagram.</param>
    public static Traffic Begin(LabRun run, string name, (string Node, IPAddress Address) correspondent, (string Node, IPAddress Address) mobile, int pings, int octets, CancellationToken cancellation)
    {
        var options = new PingOptions(pings) { Interval = PingInterval, Wait = TimeSpan.FromSeconds(1) };
        return new Traffic(
            name,
            new Flow(run.Network.Namespace(correspondent.Node), run.Network.Namespace(mobile.Node), mobile.Address, FlowInterval, octets),
            run.PingAsync(mobile.Node, correspondent.Address.ToString(), options, cancellation),
            run.PingAsync(correspondent.Node, mobile.Address.ToString(), options, cancellation));
    }

    public async Task EndAsync(CancellationToken cancellation)
    {
        await _flow.StopAsync(TimeSpan.FromMilliseconds(500), cancellation);
        await Task.WhenAll(_up, _down);
        To = LabRun.Now;
    }

    public async ValueTask DisposeAsync()
    {
        _flow.Dispose();
        await ((Task)Task.WhenAll(_up, _down)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }
}
