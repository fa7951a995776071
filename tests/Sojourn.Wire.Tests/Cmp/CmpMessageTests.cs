using System.Formats.Asn1;
using System.Text;
using Sojourn.Wire.Cmp;
using Xunit;

namespace Sojourn.Wire.Tests.Cmp;

public sealed class CmpMessageTests
{
    public static TheoryData<string> Names => [.. CmpSamples.Messages.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public void A_message_of_openssl_is_read_and_written_again_octet_for_octet(string name)
    {
        var octets = CmpSamples.Messages[name];
        Assert.True(PkiMessage.TryParse(octets, out var message, out var error), error.ToString());
        Assert.Equal(octets, message.ToArray());
    }

    [Fact]
    public void The_header_of_a_request_says_who_asks_and_how_it_is_protected()
    {
        var message = Read("ir-pbm-1-req");
        Assert.Equal(PkiBodyType.InitializationRequest, message.BodyType);
        Assert.Equal(PkiHeader.Version2, message.Header.Version);
        Assert.Equal(new DateTimeOffset(2026, 11, 21, 1, 33, 8, TimeSpan.Zero), message.Header.MessageTime);
        Assert.Equal("mn1", Encoding.ASCII.GetString(message.Header.SenderKeyId.Span));
        Assert.Equal("3E28CA24B44EE163DA1C5B92BC400236", Convert.ToHexString(message.Header.TransactionId.Span));
        Assert.Equal("DF4B7B09FC1872018BCD947498F4392A", Convert.ToHexString(message.Header.SenderNonce.Span));
        Assert.True(message.Header.RecipientNonce.IsEmpty);
        Assert.Equal(20, message.Protection.Length);
        Assert.Equal(CmpOids.PasswordBasedMac, message.Header.ProtectionAlgorithm!.Value.Oid);
        Assert.True(PasswordBasedMacParameters.TryParse(message.Header.ProtectionAlgorithm!.Value.Parameters, out var mac, out _));
        Assert.Equal((16, CmpOids.Sha256, 500, CmpOids.HmacSha1Cmp), (mac.Salt.Length, mac.OneWayFunction.Oid, mac.Iterations, mac.Mac.Oid));
    }

    [Fact]
    public void A_request_holds_subject_key_names_and_the_proof_of_possession()
    {
        Assert.True(CertReqMsg.TryParseAll(Read("ir-pbm-1-req").Body, out var requests, out var error), error.ToString());
        var request = Assert.Single(requests);
        Assert.Equal(0, request.Id);
        Assert.Equal(ProofOfPossession.Signature, request.Possession);
        Assert.Equal(CmpOids.EcdsaSha256, request.PossessionAlgorithm.Oid);
        Assert.True(SubjectPublicKeyInfo.TryParse(request.Template.PublicKey, out var key, out _));
        Assert.Equal((CmpOids.EcPublicKey, CmpOids.P256, 65), (key.Algorithm.Oid, key.NamedCurve, key.Key.Length));
        Assert.True(DistinguishedName.TryParse(request.Template.Subject, out var subject, out _));
        Assert.Equal(["Lab", "mn1.home.lab"], subject.Parts.Select(p => p.Single().Text));
        Assert.True(GeneralNames.TryParse(Assert.Single(request.Template.Extensions).Value, out var names, out _));
        Assert.Equal("mn1.home.lab", Assert.Single(names.DnsNames));
    }

    [Fact]
    public void A_request_written_anew_has_the_same_octets()
    {
        Assert.True(CertReqMsg.TryParseAll(Read("ir-sig-1-req").Body, out var requests, out _));
        var writer = new AsnWriter(AsnEncodingRules.DER);
        CertReqMsg.WriteAll(writer, [.. requests.Select(r => r with { Request = default })]);
        Assert.Equal(Read("ir-sig-1-req").Body.ToArray(), writer.Encode());
    }

    [Fact]
    public void A_response_holds_certificate_and_authority()
    {
        Assert.True(CertResponse.TryParseAll(Read("ir-pbm-1-rsp").Body, out var responses, out var authorities, out var error), error.ToString());
        var response = Assert.Single(responses);
        Assert.Equal((int)PkiStatus.Accepted, response.Status.Status);
        Assert.True(CertificateFields.TryParse(response.Certificate!.Value, out var certificate, out error), error.ToString());
        Assert.True(CertificateFields.TryParse(Assert.Single(authorities), out var authority, out error), error.ToString());
        Assert.Equal(authority.Subject.ToArray(), certificate.Issuer.ToArray());
        Assert.Equal(new DateTimeOffset(2026, 11, 21, 1, 32, 12, TimeSpan.Zero), certificate.NotBefore);
        var writer = new AsnWriter(AsnEncodingRules.DER);
        CertResponse.WriteAll(writer, responses, authorities);
        Assert.Equal(Read("ir-pbm-1-rsp").Body.ToArray(), writer.Encode());
    }

    [Fact]
    public void A_confirmation_names_the_certificate_by_its_hash()
    {
        Assert.True(CertStatus.TryParseAll(Read("ir-pbm-2-req").Body, out var statuses, out _));
        Assert.True(CertResponse.TryParseAll(Read("ir-pbm-1-rsp").Body, out var responses, out _, out _));
        var status = Assert.Single(statuses);
        Assert.Equal(System.Security.Cryptography.SHA256.HashData(responses[0].Certificate!.Value.Span), status.CertificateHash.ToArray());
        Assert.Equal(0, status.RequestId);
    }

    [Fact]
    public void A_revocation_request_names_issuer_serial_and_reason()
    {
        Assert.True(RevocationDetails.TryParseAll(Read("rr-sig-1-req").Body, out var details, out var error), error.ToString());
        var detail = Assert.Single(details);
        Assert.Equal(1, detail.Reason);
        Assert.Equal(20, detail.Certificate.SerialNumber.Length);
        Assert.False(detail.Certificate.Issuer.IsEmpty);
    }

    [Fact]
    public void A_pkcs10_request_holds_subject_and_key()
    {
        Assert.True(Pkcs10Request.TryParse(Read("p10cr-sig-1-req").Body, out var request, out var error), error.ToString());
        Assert.True(SubjectPublicKeyInfo.TryParse(request.PublicKey, out _, out _));
        Assert.True(request.Signature.Length > 60);
    }

    [Theory]
    [InlineData(PkiFailure.BadAlg, 7)]
    [InlineData(PkiFailure.NotAuthorized, 0)]
    [InlineData(PkiFailure.DuplicateCertReq, 5)]
    public void Failure_bits_are_written_without_trailing_zeros(PkiFailure failure, int unused)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        PkiBodies.WriteError(writer, PkiStatusInfo.Rejection(failure, "why"));
        var octets = writer.Encode();
        var bits = AsnDecoder.ReadBitString(octets.AsSpan(Array.LastIndexOf(octets, (byte)3)), AsnEncodingRules.DER, out var found, out _);
        Assert.Equal(unused, found);
        Assert.Equal(((int)failure / 8) + 1, bits.Length);
        Assert.True(PkiBodies.TryParseError(octets, out var status, out _));
        Assert.Equal([(int)failure], status.Failures);
        Assert.Equal(["why"], status.Text);
    }

    [Fact]
    public void Every_prefix_of_a_message_is_refused_with_the_place_of_the_fault()
    {
        foreach (var octets in CmpSamples.Messages.Values)
        {
            for (var length = 0; length < octets.Length; length++)
            {
                Assert.False(PkiMessage.TryParse(octets.AsMemory(0, length), out _, out var error));
                Assert.InRange(error.Offset, 0, length);
                Assert.NotEmpty(error.Field);
            }
        }
    }

    [Fact]
    [Trait("Row", "TA-H19")]
    public void What_is_too_long_too_many_or_too_deep_is_refused()
    {
        Assert.False(PkiMessage.TryParse(new byte[CmpLimits.Message + 1], out _, out var error));
        Assert.Equal("PKIMessage", error.Field);

        // A thousand SEQUENCEs in each other are walked one deep.
        byte[] nested = [0x30, 0];
        while (nested.Length < 4000)
        {
            nested = nested.Length switch
            {
                < 128 => [0x30, (byte)nested.Length, .. nested],
                < 256 => [0x30, 0x81, (byte)nested.Length, .. nested],
                _ => [0x30, 0x82, (byte)(nested.Length >> 8), (byte)nested.Length, .. nested],
            };
        }

        Assert.False(PkiMessage.TryParse(nested, out _, out _));
        var one = CertReqMsg.TryParseAll(Read("ir-pbm-1-req").Body, out var requests, out _) ? requests[0] : null!;
        var writer = new AsnWriter(AsnEncodingRules.DER);
        CertReqMsg.WriteAll(writer, [.. Enumerable.Repeat(one, CmpLimits.Items + 1)]);
        Assert.False(CertReqMsg.TryParseAll(writer.Encode(), out _, out error));
        Assert.Equal("too many requests", error.Reason);
    }

    [Fact]
    public void Unknown_bodies_and_header_items_survive()
    {
        var header = new PkiHeader
        {
            Version = PkiHeader.Version3,
            TransactionId = new byte[16],
            FreeText = ["one", "zwei ü"],
            GeneralInfo = [new InfoTypeAndValue("1.2.3.4.99999", (byte[])[4, 1, 7]), new InfoTypeAndValue(CmpOids.ImplicitConfirm, (byte[])[5, 0])],
        };
        var octets = PkiMessage.Encode(header, (PkiBodyType)20, writer => writer.WriteOctetString([1, 2, 3]), null);
        Assert.True(PkiMessage.TryParse(octets, out var message, out var error), error.ToString());
        Assert.Equal((PkiBodyType)20, message.BodyType);
        Assert.Equal(["one", "zwei ü"], message.Header.FreeText);
        Assert.Equal("1.2.3.4.99999", message.Header.GeneralInfo[0].Type);
        Assert.True(message.Header.AsksImplicitConfirmation);
        Assert.Equal(octets, message.ToArray());
    }

    private static PkiMessage Read(string name)
    {
        Assert.True(PkiMessage.TryParse(CmpSamples.Messages[name], out var message, out var error), error.ToString());
        return message;
    }
}
