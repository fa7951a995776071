using System.Net;
using Sojourn.Wire.Diameter;
using Xunit;

namespace Sojourn.Wire.Tests.Diameter;

[Trait("Row", "M1")]
public class DiameterValidatorTests
{
    private static readonly DiameterDictionary Dictionary = DiameterDictionary.Default;
    private static readonly DiameterValidator Strict = new(Dictionary, DiameterLimits.Default);
    private static readonly DiameterValidator Lenient = new(Dictionary, DiameterLimits.Default, lenient: true);

    [Fact]
    public void A_legal_request_with_vpn_avps_passes() =>
        Assert.Null(Strict.Validate(Samples.AmrBuilder().Add(VpnAvpKeys.Default.ServiceUpdateRequest, 1).Build()));

    [Fact]
    public void A_legal_answer_with_a_profile_passes()
    {
        var ama = Answer().AddGroup(VpnAvpKeys.Default.VpnProfile, g => g.Profile()).Add(VpnAvpKeys.Default.ProfileCache, 1).Build();

        Assert.Null(Strict.Validate(ama));
    }

    [Fact]
    public void A_missing_avp_is_5005_with_an_example()
    {
        var fault = Strict.Validate(Samples.Amr().Without(AvpKeys.MipMnAaaAuth));

        Check(fault, DiameterResult.MissingAvp, AvpKeys.MipMnAaaAuth);
    }

    [Fact]
    public void A_missing_member_is_5005_inside_its_group()
    {
        var amr = Samples.Amr().Without(AvpKeys.MipMnAaaAuth)
            .Append(Avp.Group(AvpKeys.MipMnAaaAuth, [Avp.Unsigned32(AvpKeys.MipMnAaaSpi, 1)]));

        var fault = Strict.Validate(amr);

        Check(fault, DiameterResult.MissingAvp, AvpKeys.MipMnAaaAuth);
        Assert.True(fault!.FailedAvp!.TryReadGroup(DiameterLimits.Default, out var members, out _));
        Assert.Equal(AvpKeys.MipAuthInputDataLength, Assert.Single(members).Key);
        Assert.Equal(4, members[0].Data.Length);
    }

    [Fact]
    public void A_surplus_avp_is_5009_with_the_first_one_too_many()
    {
        var fault = Strict.Validate(Samples.Amr().Append(Avp.Text(AvpKeys.UserName, "bob@home.example")));

        Check(fault, DiameterResult.AvpOccursTooManyTimes, AvpKeys.UserName);
        Assert.True(fault!.FailedAvp!.TryReadText(out var name) && name == "bob@home.example");
    }

    [Fact]
    public void An_unknown_avp_is_5001_only_with_the_M_bit()
    {
        var key = new AvpKey(6, 99999);

        Check(Strict.Validate(Samples.Amr().Append(Avp.Unsigned32(key, 1))), DiameterResult.AvpUnsupported, key);
        Check(Lenient.Validate(Samples.Amr().Append(Avp.Unsigned32(key, 1))), DiameterResult.AvpUnsupported, key);
        Assert.Null(Strict.Validate(Samples.Amr().Append(Avp.Unsigned32(key, 1, AvpFlags.None))));
    }

    [Fact]
    public void A_peer_without_vpn_support_refuses_our_avps()
    {
        var standard = new DiameterValidator(DiameterDictionary.Standard, DiameterLimits.Default);

        Check(standard.Validate(Samples.Amr()), DiameterResult.AvpUnsupported, VpnAvpKeys.Default.PreviousFaAddress);
    }

    [Fact]
    public void The_enterprise_number_is_a_setting()
    {
        var mine = DiameterDictionary.WithVpn(4711);

        Assert.True(mine.TryGet(new AvpKey(1, 4711), out AvpDefinition? profile) && profile.Name == "VPN-Profile");
        Check(new DiameterValidator(mine, DiameterLimits.Default).Validate(Samples.Amr()), DiameterResult.AvpUnsupported, VpnAvpKeys.Default.PreviousFaAddress);
    }

    [Theory]
    [InlineData(333u, "00010102")]
    [InlineData(337u, "000001")]
    [InlineData(277u, "0000000000")]
    [InlineData(367u, "")]
    [InlineData(293u, "")]
    public void A_length_that_does_not_fit_the_type_is_5014(uint code, string hex)
    {
        var key = new AvpKey(code);

        var fault = Strict.Validate(Samples.AmrBuilder().Build().Append(Avp.OctetString(key, Convert.FromHexString(hex))));

        Check(fault, DiameterResult.InvalidAvpLength, key);
        Dictionary.TryGet(key, out AvpDefinition? definition);
        Assert.Equal(definition!.MinimumLength, fault!.FailedAvp!.Data.Length);
    }

    [Theory]
    [InlineData(333u, "000801020304")]
    [InlineData(277u, "00000007")]
    [InlineData(293u, "612062")]
    [InlineData(50u, "FFFE")]
    public void A_value_outside_its_type_is_5004(uint code, string hex)
    {
        var key = new AvpKey(code);

        Check(Strict.Validate(Samples.AmrBuilder().Build().Append(Avp.OctetString(key, Convert.FromHexString(hex)))), DiameterResult.InvalidAvpValue, key);
    }

    [Fact]
    public void A_profile_with_an_impossible_tos_is_5004_inside_its_group()
    {
        var ama = Answer().AddGroup(VpnAvpKeys.Default.VpnProfile, g => g.Profile().Add(VpnAvpKeys.Default.VpnUpTos, 256)).Build();

        var fault = Strict.Validate(ama);

        Check(fault, DiameterResult.InvalidAvpValue, VpnAvpKeys.Default.VpnProfile);
        Assert.True(fault!.FailedAvp!.TryReadGroup(DiameterLimits.Default, out var members, out _));
        Assert.Equal(VpnAvpKeys.Default.VpnUpTos, Assert.Single(members).Key);
    }

    [Fact]
    public void A_group_whose_inside_is_cut_is_5014()
    {
        var broken = new Avp(AvpKeys.MipMnAaaAuth, AvpFlags.Mandatory, Convert.FromHexString("0000015540000FFF00000200"));

        var fault = Strict.Validate(Samples.Amr().Without(AvpKeys.MipMnAaaAuth).Append(broken));

        Check(fault, DiameterResult.InvalidAvpLength, AvpKeys.MipMnAaaAuth);
        Assert.True(fault!.FailedAvp!.TryReadGroup(DiameterLimits.Default, out var members, out _));
        Assert.Equal(AvpKeys.MipMnAaaSpi, Assert.Single(members).Key);
    }

    [Fact]
    public void Header_bits_against_the_definition_are_3008()
    {
        Check(Strict.Validate(Samples.Amr() with { Flags = DiameterFlags.Request }), DiameterResult.InvalidHeaderBits, null);
        Check(Strict.Validate(Samples.Amr() with { Flags = DiameterFlags.Request | DiameterFlags.Proxiable | DiameterFlags.Error }), DiameterResult.InvalidHeaderBits, null);
    }

    [Fact]
    public void Avp_bits_against_the_definition_are_3009_unless_lenient()
    {
        var amr = Samples.Amr().Append(Avp.Unsigned32(AvpKeys.MipFeatureVector, 1, AvpFlags.None));

        Check(Strict.Validate(amr), DiameterResult.InvalidAvpBits, AvpKeys.MipFeatureVector);
        Assert.Null(Lenient.Validate(amr));
    }

    [Fact]
    public void A_displaced_session_id_is_5005_unless_lenient()
    {
        var amr = Samples.Amr();
        amr.Avps.TryGet(AvpKeys.SessionId, out var session);
        amr = amr.Without(AvpKeys.SessionId).Append(session!);

        Check(Strict.Validate(amr), DiameterResult.MissingAvp, AvpKeys.SessionId);
        Assert.Null(Lenient.Validate(amr));
    }

    [Fact]
    public void A_closed_group_takes_no_other_avp_5008()
    {
        var answer = Answer().Build().Append(Avp.Group(AvpKeys.ExperimentalResult, [
            Avp.Unsigned32(AvpKeys.VendorId, 1), Avp.Unsigned32(AvpKeys.ExperimentalResultCode, 1), Avp.Text(AvpKeys.UserName, "x")]));

        Check(Strict.Validate(answer), DiameterResult.AvpNotAllowed, AvpKeys.ExperimentalResult);
    }

    [Fact]
    public void Unknown_commands_are_3001_and_unknown_applications_3007()
    {
        Check(Strict.Validate(Samples.Amr() with { CommandCode = 999 }), DiameterResult.CommandUnsupported, null);
        Check(Strict.Validate(Samples.Amr() with { ApplicationId = 999 }), DiameterResult.ApplicationUnsupported, null);
    }

    [Fact]
    public void A_failure_needs_less_than_a_success()
    {
        var refusal = Dictionary.Answer(Samples.Amr(), DiameterResult.AuthenticationRejected).Add(AvpKeys.OriginHost, "a.b").Add(AvpKeys.OriginRealm, "b").Build();
        var success = Dictionary.Answer(Samples.Amr(), DiameterResult.Success).Add(AvpKeys.OriginHost, "a.b").Add(AvpKeys.OriginRealm, "b").Build();

        Assert.Null(Strict.Validate(refusal));
        Check(Strict.Validate(success), DiameterResult.MissingAvp, AvpKeys.AuthApplicationId);
        Check(Strict.Validate(refusal.Without(AvpKeys.OriginRealm)), DiameterResult.MissingAvp, AvpKeys.OriginRealm);
    }

    [Fact]
    public void A_protocol_error_carries_the_E_bit_and_follows_answer_message()
    {
        var error = Dictionary.Answer(Samples.Amr(), DiameterResult.UnableToDeliver).Add(AvpKeys.OriginHost, "a.b").Add(AvpKeys.OriginRealm, "b").Build();

        Assert.True(error.IsError);
        Assert.Null(Strict.Validate(error));
    }

    [Fact]
    public void What_stands_inside_failed_avp_is_not_judged()
    {
        var answer = Dictionary.Answer(Samples.Amr(), DiameterResult.InvalidAvpValue).Add(AvpKeys.OriginHost, "a.b").Add(AvpKeys.OriginRealm, "b")
            .AddGroup(AvpKeys.FailedAvp, g => g.Add(Avp.OctetString(AvpKeys.ResultCode, [1]))).Build();

        Assert.Null(Strict.Validate(answer));
    }

    [Fact]
    public void Groups_that_nest_too_deep_or_hold_too_much_are_refused_in_bounded_time()
    {
        var deep = Avp.Text(AvpKeys.UserName, "x");
        for (var i = 0; i < 5000; i++)
        {
            deep = Avp.Group(AvpKeys.ProxyInfo, [Avp.Identity(AvpKeys.ProxyHost, "p"), Avp.OctetString(AvpKeys.ProxyState, [1]), deep]);
        }

        Check(Strict.Validate(Samples.Amr().Append(deep)), DiameterResult.ResourcesExceeded, null);

        var wide = Enumerable.Range(0, 40).Select(_ => Avp.Group(AvpKeys.ProxyInfo, [
            Avp.Identity(AvpKeys.ProxyHost, "p"), Avp.OctetString(AvpKeys.ProxyState, [1]), .. Enumerable.Repeat(new Avp(new AvpKey(77), AvpFlags.None, default(ReadOnlyMemory<byte>)), 20)]));
        Check(Strict.Validate(Samples.Amr().Append(wide)), DiameterResult.ResourcesExceeded, null);
    }

    [Fact]
    public void A_fault_becomes_a_legal_answer()
    {
        var amr = Samples.Amr().Without(AvpKeys.UserName);
        var fault = Strict.Validate(amr)!;

        var answer = Dictionary.Answer(amr, fault.ResultCode).Add(AvpKeys.OriginHost, "a.b").Add(AvpKeys.OriginRealm, "b").Add(fault).Build();

        Assert.Null(Strict.Validate(answer));
        Assert.True(answer.Avps.TryGetGroup(AvpKeys.FailedAvp, out var failed));
        Assert.Equal(AvpKeys.UserName, failed[0].Key);
    }

    private static DiameterMessageBuilder Answer() => Dictionary.Answer(Samples.Amr(), DiameterResult.Success)
        .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4)
        .Add(AvpKeys.OriginHost, "aaah.home.example")
        .Add(AvpKeys.OriginRealm, "home.example");

    private static void Check(DiameterFault? fault, uint result, AvpKey? failed)
    {
        Assert.NotNull(fault);
        Assert.Equal(DiameterResult.Name(result), DiameterResult.Name(fault.ResultCode));
        Assert.Equal(failed, fault.FailedAvp?.Key);
    }
}
