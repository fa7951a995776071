using System.Globalization;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Lab.Capture;
using Sojourn.Roles.Diameter;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>Device authentication at access links: what operators prepare for it, and whether it came before everything else (spec TA1.103 to 107a).</summary>
public abstract partial class TerminalScenario
{
    // Types of EAPOL frames, codes and types of EAP, as tshark prints them.
    protected const string EapolStart = "1", EapSuccess = "3", EapFailure = "4", EapTls = "13";

    /// <summary>Router and neighbour discovery and listener reports: what a host says of its own accord on a port that is shut.</summary>
    private static readonly string[] s_neighbourDiscovery = ["133", "134", "135", "136", "143"];

    /// <summary>Before the files' contents were written, so that whoever opens one leaves a later time behind (relatime).</summary>
    private static readonly DateTime s_never = new(2001, 1, 1, 0, 0, 0, DateTimeKind.Utc);

    /// <summary>How far the clock of file times runs behind that of the captures: a tick of the kernel at most.</summary>
    private static readonly TimeSpan s_tick = TimeSpan.FromMilliseconds(10);

    /// <summary>Fields of tshark beside <see cref="Fields"/> that device authentication is read by.</summary>
    protected static readonly IReadOnlyList<string> DeviceFields = ["eapol.type", "eap.code", "eap.type", "eth.src"];

    /// <summary>What a terminal did, one thing after another.</summary>
    /// <param name="Steps">With the time of each; null = not seen after the one before it.</param>
    /// <param name="Early">Packets before the device was let in that are neither EAPOL nor neighbour discovery.</param>
    protected sealed record SignOn(IReadOnlyList<(string Name, long? Time)> Steps, int Early)
    {
        public bool InOrder => Early == 0 && Steps.All(s => s.Time is not null) && Steps.Zip(Steps.Skip(1)).All(pair => pair.First.Time < pair.Second.Time);

        public long? Of(string step) => Steps.First(s => s.Name == step).Time;

        public override string ToString() =>
            string.Join(", ", Steps.Select(s => s.Time is not { } time ? $"no {s.Name}" : $"{s.Name} +{Ms(Steps[0].Time ?? time, time)}")) + string.Create(CultureInfo.InvariantCulture, $"; {Early} packets before the success");
    }

    /// <summary>
    /// Makes the authority that devices' certificates come from (<c>devices/ca.crt</c>), certifies whoever decides about devices and the
    /// devices themselves (<c>device.crt</c> and <c>device.key</c>), and gives these their link-layer addresses 02:00:00:00:d0:NN.
    /// </summary>
    /// <param name="deciders">Node, name of its files, DNS name in the certificate.</param>
    /// <param name="devices">Terminals with the last octet of their address.</param>
    protected static void EquipDevices(LabRun run, IEnumerable<(string Node, string File, string Name)> deciders, IEnumerable<(string Node, byte Number)> devices)
    {
        using var authority = new LabCertificateAuthority("Device authority", TimeSpan.FromDays(1));
        authority.WriteAuthority(run.Directory.FolderOf("devices"));
        foreach (var (node, file, name) in deciders)
        {
            authority.Write(run.Directory.FolderOf(node), file, name);
        }

        foreach (var (node, number) in devices)
        {
            authority.Write(run.Directory.FolderOf(node), "device", node + ".devices.example");
            SetAddress(run, node, number);
        }
    }

    protected static void SetAddress(LabRun run, string node, byte number)
    {
        using var route = Rtnetlink.Open(run.Network.Namespace(node));
        route.SetLinkAddress("eth0", new LinkAddress([2, 0, 0, 0, 0xD0, number]));
    }

    /// <summary>From now on it shows when somebody opens the terminal's store for the first time (<see cref="OpenedAt"/>).</summary>
    protected static void WatchStore(LabRun run, string node)
    {
        foreach (var file in Directory.GetFiles(StoreOf(run, node)))
        {
            File.SetLastAccessTimeUtc(file, s_never);
        }
    }

    /// <summary>When the terminal's store was first opened, in nanoseconds since 1970 and not before the true moment; null = it was not.</summary>
    protected static long? OpenedAt(LabRun run, string node)
    {
        var opened = Directory.GetFiles(StoreOf(run, node)).Select(File.GetLastAccessTimeUtc).Where(t => t > s_never.AddDays(1)).ToList();
        return opened.Count == 0 ? null : (opened.Min() + s_tick - DateTime.UnixEpoch).Ticks * 100;
    }

    protected static bool IsEapol(DissectedPacket packet) => packet.First("eapol.type") is not null;

    /// <summary>What an access link says about a frame of device authentication; null = it is none.</summary>
    protected static string? EapolName(DissectedPacket packet) => packet switch
    {
        _ when !IsEapol(packet) => null,
        _ when packet.Is("eapol.type", EapolStart) => "EAPOL-Start",
        _ when packet.Is("eap.code", EapSuccess) => "EAP-Success",
        _ when packet.Is("eap.code", EapFailure) => "EAP-Failure",
        _ => packet.First("eap.type") switch { "1" => "EAP Identity", EapTls => "EAP-TLS", var type => $"EAP {type}" },
    };

    /// <summary>From power-on to the binding update: device authentication, the store, the certificate, key exchange, registration.</summary>
    /// <param name="opened">When the store was first opened (<see cref="OpenedAt"/>).</param>
    protected SignOn SignOnOf(string terminal, string link, long from, long? opened)
    {
        var packets = On(link, from).ToList();
        long? at = from;
        long? Next(bool own, Func<DissectedPacket, bool> wanted) => at = at is null ? null : packets.FirstOrDefault(p => p.Time >= at && p.Sender == terminal == own && wanted(p))?.Time;
        (string, long?)[] admission =
        [
            ("EAPOL-Start", Next(true, p => p.Is("eapol.type", EapolStart))),
            ("EAP-TLS", Next(true, p => IsEapol(p) && p.Is("eap.type", EapTls))),
            ("EAP-Success", Next(false, p => IsEapol(p) && p.Is("eap.code", EapSuccess))),
        ];
        var success = at;
        return new SignOn(
            [
                .. admission,
                ("store opened", opened),
                ("ir", Next(true, p => p.Is("cmp.body", InitializationRequest))),
                ("pkiConf", Next(false, p => p.Is("cmp.body", PkiConfirm))),
                ("IKE_SA_INIT", Next(true, p => p.Is("isakmp.exchangetype", SaInit))),
                ("BU under ESP", Next(true, p => p.Is("mip6.mhtype", BindingUpdate) && p.First("esp.spi") is not null)),
            ],
            packets.Count(p => p.Sender == terminal && p.Time < (success ?? long.MaxValue) && !IsEapol(p) && !s_neighbourDiscovery.Contains(p.First("icmpv6.type"))));
    }

    /// <summary>The terminal of spec P1: it is what its store says, and opened that when its device had been let in.</summary>
    protected static void JudgeTerminal(RowBook rows, SignOn signOn, string state) =>
        rows.Check("TA-P1", "Mobile IPv6, IPsec, IKE initiator and CMP client in one terminal, its keys from a store that is opened after device authentication", signOn.InOrder && state == "REG", $"{signOn}; {state}");
}
