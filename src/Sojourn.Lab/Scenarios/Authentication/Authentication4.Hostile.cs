using System.Net;
using Sojourn.Lab.Evidence;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>Those who have no right to what they ask for.</summary>
public sealed partial class Authentication4
{
    private const int EthernetHeader = 14;

    private long _forged, _claimed, _ignoredBefore, _ignoredAfter;
    private string _homeAfterForgery = "", _stateAfterForgery = "", _unsigned = "", _wronglySigned = "";
    private IReadOnlyList<string> _refusals = [];
    private KeylessAttempt? _keyless;
    private long _keylessFrom;

    /// <summary>TA-H14: a prefix advertisement as the home agent would send it, but in clear.</summary>
    private async Task ForgeAdvertisementAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("Somebody sends terminal 1 a prefix advertisement in clear");
        _ignoredBefore = await CounterAsync(run, "mn1", "mip6.mn.ignored.", cancellation);
        var (agent, careOf, home) = (IPAddress.Parse(HomeAgent), IPAddress.Parse(Text(_shown["mn1"][0], "careOfAddress")), IPAddress.Parse(Home1));
        var advertisement = new MobilePrefixAdvertisement(4711, MobilePrefixAdvertisementFlags.None)
        {
            Options = NeighborDiscoveryOptions.Of(new PrefixInformationOption(IPAddress.Parse("2001:db8:bad::"), 64, PrefixInformationFlags.Autonomous, 86_400, 86_400)),
        };
        var packet = new MobileIpv6Packet { Source = agent, Destination = careOf, RoutingHomeAddress = home, Protocol = IpProtocol.Icmpv6, Payload = advertisement.ToArray(agent, home) };
        var wire = run.Network.Wire("access-1");

        // As the access router would hand it on: link-layer addresses as those of the last packet to the terminal itself.
        var like = wire.Recording.Frames().Last(f => f.Sender == 1 && f.Comment is null && f.Data.Length > 54 && f.Data[12] == 0x86 && f.Data[13] == 0xDD && f.Data.AsSpan(38, 16).SequenceEqual(careOf.GetAddressBytes()));
        _forged = LabRun.Now;
        wire.Inject(1, [.. like.Data.AsSpan(0, EthernetHeader), .. packet.ToArray()], "forged by the scenario: prefix advertisement in clear");
        await AwaitAsync(run, "mn1 counts the forged advertisement", async () => (_ignoredAfter = await CounterAsync(run, "mn1", "mip6.mn.ignored.", cancellation)) > _ignoredBefore, TimeSpan.FromSeconds(3), cancellation);
        var session = await SessionAsync(run, "mn1", cancellation);
        (_homeAfterForgery, _stateAfterForgery) = (Text(session, "homeAddress"), Text(session, "state"));
    }

    /// <summary>TA-H15: terminal 3, with a card of its own, is configured with terminal 1's home address.</summary>
    private async Task ClaimAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("Terminal 3, with a good certificate of its own, claims terminal 1's home address");
        _claimed = LabRun.Now;
        await run.Node("mn3").StartAsync(cancellation);
        await AwaitEventAsync(run, "ha", "association.refused", TimeSpan.FromSeconds(30), cancellation);
        _refusals = await EventsAsync(run, "ha", "association.refused", cancellation);
        _shown["mn3 claimed"] = [await SessionAsync(run, "mn3", cancellation)];
        await TakeAsync(run, "claimed", cancellation);
        await run.Node("mn3").StopAsync();
        run.Progress.Note(_refusals.LastOrDefault() ?? "nothing was refused");
    }

    /// <summary>TA-H27: terminal 3, with its own home address now, wants terminal 1's name; and updates that no key vouches for.</summary>
    private async Task BorrowNameAsync(LabRun run, NameServer names, CancellationToken cancellation)
    {
        run.Progress.Step("Terminal 3 asks for terminal 1's name; somebody else updates the zone without the key");
        Change(run, "mn3", $"terminal: {{ home-address: \"{Home3}\" }}");
        await run.Node("mn3").StartAsync(cancellation);
        await ReachAsync(run, "mn3", "REG", TimeSpan.FromSeconds(30), cancellation);
        var update = $"zone {Zone}\nupdate delete {Name1} AAAA\nupdate add {Name1} 60 AAAA 2001:db8:bad::1";
        _unsigned = await names.UpdateAsync(run, "cn", update, key: null, cancellation);
        _wronglySigned = await names.UpdateAsync(run, "cn", update, $"hmac-sha256:{HomeAgentName}:d3Jvbmcga2V5IHdyb25nIGtleSB3cm9uZyBrZXkgMzI=", cancellation);
        _dug["borrowed"] = await names.DigAsync(run, "cn", Name1, "AAAA", cancellation);
        await TakeAsync(run, "borrowed", cancellation);
        await run.Node("mn3").StopAsync();
    }

    /// <summary>TA-H16: the certificate of terminal 2 with a signature by another key, for an address that nobody has.</summary>
    private async Task BorrowCertificateAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("Somebody with terminal 2's certificate, and not its key, asks for an association");
        _keylessFrom = LabRun.Now;
        _keyless = await KeylessTerminal.TryAsync(
            run, "cn", IPAddress.Parse(Correspondent), IPAddress.Parse(HomeAgent), IPAddress.Parse(Unused), Name2,
            await File.ReadAllTextAsync(Path.Combine(StoreOf(run, "mn2"), "certificate.pem"), cancellation),
            await File.ReadAllTextAsync(Path.Combine(StoreOf(run, "mn2"), "authorities.pem"), cancellation), TimeSpan.FromSeconds(5), cancellation);
        await TakeAsync(run, "keyless", cancellation);
        run.Progress.Note($"{_keyless}");
    }

    private void Hostile(RowBook rows)
    {
        var forged = On("access-1", _forged).FirstOrDefault(p => p.Is("icmpv6.type", PrefixAdvertisement) && p.First("esp.spi") is null);
        rows.Check("TA-H14", "a prefix advertisement in clear is ignored and counted; the home address stays", forged is not null && _ignoredAfter == _ignoredBefore + 1 && _homeAfterForgery == Home1 && _stateAfterForgery == "REG",
            $"{(forged is null ? "not sent" : $"{forged.Source} > {forged.Destination}, prefix {forged.First("icmpv6.opt.prefix")}")}; counted {_ignoredAfter - _ignoredBefore}; {_stateAfterForgery} as {_homeAfterForgery}");

        var (before, claimed) = (Rows("certificates registered"), Rows("certificates claimed"));
        var authFailed = On("access-3", _claimed).FirstOrDefault(p => p.Sender == "ar" && p.Is("isakmp.notify.msgtype", AuthenticationFailed));
        var refused = authFailed is not null && _refusals.Any(r => r.Contains(Home1, StringComparison.Ordinal) && r.Contains(Name3, StringComparison.Ordinal)) && Text(_shown["mn3 claimed"][0], "state") != "REG";
        foreach (var id in (string[])["TA-H15", "TA-G20"])
        {
            rows.Check(id, "who claims another's home address hears AUTHENTICATION_FAILED and changes no certificate row", refused && before.Count == 2 && before.SequenceEqual(claimed),
                $"{(authFailed is null ? "no AUTHENTICATION_FAILED" : "AUTHENTICATION_FAILED")}; {_refusals.LastOrDefault()}; rows {(before.SequenceEqual(claimed) ? "the same" : "changed")}: {string.Join(", ", claimed)}");
        }

        var (last, keyless) = (Rows("certificates borrowed"), Rows("certificates keyless"));
        var answer = On("core-cn", _keylessFrom).Where(p => p.Sender == "core" && p.Is("isakmp.exchangetype", Auth)).ToList();
        foreach (var id in (string[])["TA-H16", "TA-G20", "TA1.125a", "TA1.125x"])
        {
            rows.Check(id, "a signature that the certificate's key does not verify: AUTHENTICATION_FAILED, no association, and the certificate row is not touched",
                _keyless is { Established: false } && answer.Count == 1 && answer[0].Is("isakmp.notify.msgtype", AuthenticationFailed) && last.SequenceEqual(keyless) && last.Any(r => r.Contains(Name2, StringComparison.Ordinal)), $"{_keyless}; rows {(last.SequenceEqual(keyless) ? "the same" : "changed")}: {string.Join(", ", keyless)}");
        }

        var acknowledged = On("access-3", _claimed).FirstOrDefault(p => p.Sender == "ar" && p.Is("mip6.mhtype", BindingAcknowledgement));
        rows.Check("TA-H27", "a terminal that asks for another's name is registered without it, status 129", acknowledged is not null && acknowledged.First("mip6.ba.status") is "0" or "1" && acknowledged!.First("mip6.dnsu.status") == "129",
            acknowledged is null ? "no acknowledgement" : $"binding status {acknowledged.First("mip6.ba.status")}, name {acknowledged.First("mip6.dnsu.status")}");
        rows.Check("TA-H27", "BIND refuses updates without the key; the name leads where it led", _unsigned.Contains("REFUSED", StringComparison.Ordinal) && _wronglySigned.Contains("NOTAUTH(BADSIG)", StringComparison.Ordinal) && _dug["borrowed"] == Home1
            && !_shown["names borrowed"].Any(n => Text(n, "name") == Name1 && Text(n, "homeAddress") != Home1), $"{_unsigned}; {_wronglySigned}; {Name1} is {_dug["borrowed"]}");
    }

    /// <summary>Rows of the certificate table as they can be compared, in their order.</summary>
    private IReadOnlyList<string> Rows(string table) => [.. _shown[table].Select(r => $"{Text(r, "homeAddress")} {Text(r, "identifier")} {Text(r, "serial")} {Text(r, "kept")}")];
}
