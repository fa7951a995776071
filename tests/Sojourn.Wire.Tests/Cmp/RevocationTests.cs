using Sojourn.Wire.Cmp;
using Xunit;

namespace Sojourn.Wire.Tests.Cmp;

/// <summary>CRL, OCSP response and where a certificate says they are; octets of OpenSSL.</summary>
public sealed class RevocationTests
{
    [Fact]
    public void A_crl_lists_serial_numbers_with_their_time()
    {
        Assert.True(CertificateRevocationList.TryParse(RevocationSamples.List, out var list, out var error), error.ToString());
        var (serial, at) = Assert.Single(list.Revoked);
        Assert.Equal(("00c102", new DateTimeOffset(2026, 11, 21, 10, 0, 0, TimeSpan.Zero)), (serial, at));
        Assert.Equal(TimeSpan.FromDays(30), list.NextUpdate - list.ThisUpdate);
        Assert.Equal(CmpOids.EcdsaSha256, list.Algorithm.Oid);
    }

    [Fact]
    public void A_crl_with_a_critical_extension_or_too_long_is_refused()
    {
        // The CRL number becomes critical, which makes it and all around it three octets longer.
        var octets = RevocationSamples.List;
        Assert.False(CertificateRevocationList.TryParse(WithCriticalNumber(octets), out _, out var error));
        Assert.Equal("crlExtensions", error.Field);
        Assert.False(CertificateRevocationList.TryParse(new byte[CmpLimits.RevocationList + 1], out _, out error));
        Assert.False(CertificateRevocationList.TryParse(octets.AsMemory(..^1), out _, out _));
    }

    [Fact]
    public void An_ocsp_response_tells_good_revoked_and_unknown_apart_and_has_nonce_and_responder()
    {
        Assert.True(OcspResponse.TryParse(RevocationSamples.Delegated, out var response, out var error), error.ToString());
        Assert.Equal([OcspCertificateStatus.Good, OcspCertificateStatus.Revoked, OcspCertificateStatus.Unknown], response.Responses.Select(r => r.Status));
        Assert.Equal(["4101", "00C102", "4D"], response.Responses.Select(r => Convert.ToHexString(r.Id.SerialNumber.Span)));
        Assert.Equal(new DateTimeOffset(2026, 11, 21, 10, 0, 0, TimeSpan.Zero), response.Responses[1].RevokedAt);
        Assert.Equal(TimeSpan.FromDays(30), response.Responses[0].NextUpdate - response.Responses[0].ThisUpdate);
        Assert.Equal("041093B52CF2586008A21AAB5DB33577AFD4", Convert.ToHexString(response.Nonce.Span));
        Assert.True(response.ResponderKeyHash.IsEmpty);
        Assert.Single(response.Certificates);

        Assert.True(OcspResponse.TryParse(RevocationSamples.Own, out response, out _));
        Assert.Equal(20, response.ResponderKeyHash.Length);
        Assert.True(response.Nonce.IsEmpty);
        Assert.Empty(response.Certificates);

        Assert.True(OcspResponse.TryParse(RevocationSamples.Refusal, out response, out _));
        Assert.Equal(OcspResponseStatus.TryLater, response.Status);
        Assert.False(OcspResponse.TryParse(new byte[] { 0x30, 3, 0x0A, 1, 9 }, out _, out error));
        Assert.Equal("responseStatus", error.Field);
    }

    [Fact]
    public void A_certificate_says_where_its_status_is()
    {
        Assert.True(CertificateFields.TryParse(RevocationSamples.Certificate, out var certificate, out _));
        var places = StatusLocations.Of(certificate);
        Assert.Equal(["http://ca.home.example/ocsp"], places.Ocsp.Select(u => u.AbsoluteUri));

        // The second distribution point is an LDAP directory.
        Assert.Equal(["http://ca.home.example/ca.crl"], places.Lists.Select(u => u.AbsoluteUri));
        Assert.True(CertificateFields.TryParse(RevocationSamples.Authority, out var authority, out _));
        Assert.Empty(StatusLocations.Of(authority).Ocsp);
    }

    private static byte[] WithCriticalNumber(byte[] list)
    {
        // 30 0A 06 03 55 1D 14 04 03 02 01 01 becomes 30 0D 06 03 55 1D 14 01 01 FF 04 03 02 01 01.
        var at = list.AsSpan().IndexOf((byte[])[0x06, 0x03, 0x55, 0x1D, 0x14]);
        var extension = at - 2;
        var writer = new List<byte>(list[..(at + 5)]);
        writer.AddRange([1, 1, 0xFF]);
        writer.AddRange(list[(at + 5)..]);
        var result = writer.ToArray();
        foreach (var length in new[] { extension + 1, extension - 1, extension - 3 })
        {
            result[length] += 3;
        }

        // SEQUENCE of all and of tbsCertList: a length of one octet, or 81 and an octet.
        result[list[1] == 0x81 ? 2 : 1] += 3;
        var inner = list[1] == 0x81 ? 3 : 2;
        result[list[inner + 1] == 0x81 ? inner + 2 : inner + 1] += 3;
        return result;
    }
}
