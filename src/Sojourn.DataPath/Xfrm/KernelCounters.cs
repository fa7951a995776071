using System.Globalization;
using Sojourn.Engine.Ipsec;

namespace Sojourn.DataPath.Xfrm;

/// <summary>
/// What the kernel's IPsec has refused in the namespace of the calling thread since this was made (<c>/proc/net/xfrm_stat</c>, kernel documentation "xfrm_proc"),
/// under the names the user-space path has for the same.
/// </summary>
internal sealed class KernelCounters
{
    private const string File = "/proc/thread-self/net/xfrm_stat";

    private static readonly Dictionary<string, DropReason> s_names = new()
    {
        ["XfrmInHdrError"] = DropReason.Malformed,
        ["XfrmInNoStates"] = DropReason.UnknownSpi,
        ["XfrmInStateProtoError"] = DropReason.BadIcv,
        ["XfrmInStateSeqError"] = DropReason.Replay,
        ["XfrmInStateExpired"] = DropReason.LifetimeExpired,
        ["XfrmInStateModeError"] = DropReason.InnerMalformed,
        ["XfrmInNoPols"] = DropReason.SelectorMismatch,
        ["XfrmInTmplMismatch"] = DropReason.SelectorMismatch,
        ["XfrmInPolBlock"] = DropReason.Unprotected,
        ["XfrmOutNoStates"] = DropReason.PathBlocked,
        ["XfrmOutPolBlock"] = DropReason.InboundOnly,
        ["XfrmOutStateSeqError"] = DropReason.SequenceExhausted,
        ["XfrmOutStateExpired"] = DropReason.LifetimeExpired,
    };

    private readonly Dictionary<string, long> _before = Lines().ToDictionary();

    /// <summary>Counters above zero. What has no name in the user-space path goes together as <c>datapath.kernel_refused</c>.</summary>
    public Dictionary<string, long> Read()
    {
        var counters = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (var (line, count) in Lines())
        {
            if (count - _before.GetValueOrDefault(line) is > 0 and var fresh)
            {
                var name = s_names.TryGetValue(line, out var reason) ? reason.CounterName() : "datapath.kernel_refused";
                counters[name] = counters.GetValueOrDefault(name) + fresh;
            }
        }

        return counters;
    }

    private static IEnumerable<KeyValuePair<string, long>> Lines() =>
        System.IO.File.ReadLines(File).Select(line => line.Split((char[])[' ', '\t'], StringSplitOptions.RemoveEmptyEntries)).Where(words => words.Length == 2)
            .Select(words => KeyValuePair.Create(words[0], long.Parse(words[1], CultureInfo.InvariantCulture)));
}
