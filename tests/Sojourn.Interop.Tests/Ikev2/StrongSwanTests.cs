using Sojourn.Engine.Ikev2;
using Sojourn.Wire.Ikev2;
using Xunit;

namespace Sojourn.Interop.Tests.Ikev2;

/// <summary>The IKE engine against strongSwan's charon, as initiator and as responder. ESP between the two is not sent here.</summary>
public class StrongSwanTests
{
    public static TheoryData<IkeAuthenticationKind, bool> Proofs
    {
        get
        {
            var data = new TheoryData<IkeAuthenticationKind, bool>();
            foreach (var kind in Enum.GetValues<IkeAuthenticationKind>())
            {
                data.Add(kind, true);
                data.Add(kind, false);
            }

            return data;
        }
    }

    [StrongSwanTheory, MemberData(nameof(Proofs))]
    [Trait("Row", "TA-M1")]
    [Trait("Row", "TA-M3")]
    [Trait("Row", "TA-M5")]
    [Trait("Row", "TA-M7")]
    public async Task Either_end_sets_up_and_both_rekey_both_sas_and_delete(IkeAuthenticationKind kind, bool weBegin)
    {
        await using var both = await StrongSwan.StartAsync(kind);
        await BeginAsync(both, weBegin);
        await both.AgreeAsync();

        // Each association and the IKE SA, from each side.
        var child = (await both.ChildSasAsync())[0].Id;
        both.Tell(new RekeyChild(child));
        await both.AgreeAsync((_, c) => c.Id != child);
        child = (await both.ChildSasAsync())[0].Id;
        await both.ControlAsync("--rekey", "--child", "net");
        await both.AgreeAsync((_, c) => c.Id != child);
        var sa = (await both.IkeSasAsync())[0].Id;
        both.Tell(new RekeyIke(sa));
        await both.AgreeAsync((s, _) => s.Id != sa);
        sa = (await both.IkeSasAsync())[0].Id;
        await both.ControlAsync("--rekey", "--ike", "own");
        await both.AgreeAsync((s, _) => s.Id != sa);

        if (weBegin)
        {
            both.Tell(new CloseIke((await both.IkeSasAsync())[0].Id));
        }
        else
        {
            await both.ControlAsync("--terminate", "--ike", "own");
        }

        await both.GoneAsync();
    }

    [StrongSwanTheory]
    [InlineData("aes128gcm16-prfsha256-ecp256", "aes128gcm16")]
    [InlineData("aes256gcm16-prfsha512-ecp384", "aes256gcm16-ecp384")]
    [InlineData("chacha20poly1305-prfsha256-x25519", "chacha20poly1305-x25519")]
    [InlineData("aes128-sha256-modp2048", "aes128-sha256-modp2048")]
    [InlineData("aes256-sha512-ecp521", "aes256-sha256")]
    public async Task Algorithms_agree(string proposals, string espProposals)
    {
        await using var both = await StrongSwan.StartAsync(
            IkeAuthenticationKind.PreSharedKey, proposals, espProposals,
            change: p => p with
            {
                Proposals = [.. IkeProposals.WithGroups(IkeProposals.Ike, IkeGroup.Curve25519, IkeGroup.P256, IkeGroup.P384, IkeGroup.P521, IkeGroup.Modp2048)],
                Children = [.. p.Children.Select(c => c with { Proposals = espProposals.Count(x => x == '-') > (espProposals.Contains("sha", StringComparison.Ordinal) ? 1 : 0) ? IkeProposals.WithGroups(IkeProposals.Esp, IkeGroup.Curve25519, IkeGroup.P384, IkeGroup.Modp2048) : IkeProposals.Esp })],
            });
        await BeginAsync(both, weBegin: true);
        await both.AgreeAsync();
        var child = (await both.ChildSasAsync())[0].Id;
        both.Tell(new RekeyChild(child));
        await both.AgreeAsync((_, c) => c.Id != child);
        child = (await both.ChildSasAsync())[0].Id;
        await both.ControlAsync("--rekey", "--child", "net");
        await both.AgreeAsync((_, c) => c.Id != child);
    }

    [StrongSwanTheory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Long_messages_go_in_fragments_both_ways(bool weBegin)
    {
        await using var both = await StrongSwan.StartAsync(IkeAuthenticationKind.Rsa, daemon: "fragment_size = 600", options: o => o with { FragmentLength = 500 });
        await BeginAsync(both, weBegin);
        await both.AgreeAsync();
        var fragments = both.Captured.Select(p => p.Payload.Span[8..].ToArray()).Select(m => m.AsSpan().StartsWith(new byte[4]) ? m[4..] : m)
            .Where(m => IkeMessage.TryParse(m, out var message, out _) && message.Find<EncryptedFragmentPayload>() is not null && message.Header.Exchange == IkeExchange.IkeAuth).ToList();
        Assert.True(fragments.Count(f => IkeHeader.TryParse(f, out var h, out _) && h.IsResponse) > 1);
        Assert.True(fragments.Count(f => IkeHeader.TryParse(f, out var h, out _) && !h.IsResponse) > 1);
    }

    [StrongSwanFact]
    public async Task A_cookie_is_returned()
    {
        await using var both = await StrongSwan.StartAsync(IkeAuthenticationKind.PreSharedKey, daemon: "cookie_threshold = 0\ncookie_threshold_ip = 0\ndos_protection = yes");
        await BeginAsync(both, weBegin: true);
        await both.AgreeAsync();
    }

    [StrongSwanFact]
    [Trait("Row", "TA-M13")]
    public async Task Each_end_answers_the_other_ones_question_whether_it_lives()
    {
        await using var both = await StrongSwan.StartAsync(IkeAuthenticationKind.PreSharedKey, more: "dpd_delay = 1", change: p => p with { LivenessInterval = TimeSpan.FromSeconds(0.7) });
        await BeginAsync(both, weBegin: true);
        await both.AgreeAsync();
        await Task.Delay(4000);
        await both.AgreeAsync();
        Assert.Contains("INFORMATIONAL response", both.Log(), StringComparison.Ordinal);
    }

    [StrongSwanFact]
    [Trait("Row", "TA-M14")]
    public async Task We_move_and_charon_follows()
    {
        await using var both = await StrongSwan.StartAsync(IkeAuthenticationKind.EcdsaP256, change: p => p with { Mobike = true });
        await BeginAsync(both, weBegin: true);
        await both.AgreeAsync();
        var sa = (await both.IkeSasAsync())[0];
        Assert.True(sa.Mobike);

        // kernel-libipsec cannot change an association's addresses, so charon rekeys the child after the move.
        both.Tell(new ChangeLocalAddress(sa.Id, StrongSwan.OwnSecond));
        await both.AgreeAsync((s, c) => s.Id == sa.Id && c.Inbound.Destination.Equals(StrongSwan.OwnSecond));
        Assert.Contains($"remote '{StrongSwan.OwnName}' @ {StrongSwan.OwnSecond}", await both.ControlAsync("--list-sas"), StringComparison.Ordinal);

        // From the new address everything goes on.
        var child = (await both.ChildSasAsync())[0].Id;
        both.Tell(new RekeyChild(child));
        await both.AgreeAsync((_, c) => c.Id != child);
    }

    [StrongSwanTheory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Row", "TA-M11")]
    public async Task A_wrong_secret_is_refused(bool weBegin)
    {
        await using var both = await StrongSwan.StartAsync(IkeAuthenticationKind.PreSharedKey, change: p => p with { PreSharedKey = new Engine.KeyMaterial("another secret"u8) });
        await BeginAsync(both, weBegin);
        await both.GoneAsync();
        Assert.Contains(weBegin ? "AUTH_FAILED" : "AUTHENTICATION_FAILED notify", both.Log(), StringComparison.Ordinal);
    }

    private static async Task BeginAsync(StrongSwan both, bool weBegin)
    {
        if (weBegin)
        {
            both.Tell(new InitiateIke("charon", StrongSwan.Own));
        }
        else
        {
            await both.ControlAsync("--initiate", "--child", "net", "--timeout", "10");
        }
    }
}
