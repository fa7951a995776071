using System.Formats.Asn1;

namespace Sojourn.Wire.Cmp;

/// <summary>PBMParameter (RFC 9810 5.1.3.1): SEQUENCE { salt, owf, iterationCount, mac }.</summary>
public sealed record PasswordBasedMacParameters(ReadOnlyMemory<byte> Salt, AlgorithmIdentifier OneWayFunction, int Iterations, AlgorithmIdentifier Mac)
{
    public static bool TryParse(ReadOnlyMemory<byte> octets, out PasswordBasedMacParameters parameters, out WireError error)
    {
        var fault = new DerFault();
        var all = new DerReader(octets, fault, "RFC 9810 5.1.3.1");
        var r = all.Sequence("PBMParameter");
        all.End("PBMParameter");
        parameters = new PasswordBasedMacParameters(r.OctetString("salt"), r.Algorithm("owf"), r.SmallInteger("iterationCount"), r.Algorithm("mac"));
        r.End("PBMParameter");
        error = fault.Error ?? default;
        return fault.Error is null;
    }

    public AlgorithmIdentifier ToAlgorithm()
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            writer.WriteOctetString(Salt.Span);
            OneWayFunction.Write(writer);
            writer.WriteInteger(Iterations);
            Mac.Write(writer);
        }

        return new AlgorithmIdentifier(CmpOids.PasswordBasedMac, writer.Encode());
    }
}

/// <summary>PBMAC1-params with PBKDF2 (RFC 8018 A.5 and A.2).</summary>
/// <param name="KeyLength">Octets; null = not stated.</param>
/// <param name="Prf">hmacWithSHA1 when not stated.</param>
public sealed record Pbmac1Parameters(ReadOnlyMemory<byte> Salt, int Iterations, int? KeyLength, AlgorithmIdentifier Prf, AlgorithmIdentifier Mac)
{
    public static bool TryParse(ReadOnlyMemory<byte> octets, out Pbmac1Parameters parameters, out WireError error)
    {
        var fault = new DerFault();
        var all = new DerReader(octets, fault, "RFC 8018 A.5");
        var r = all.Sequence("PBMAC1-params");
        all.End("PBMAC1-params");
        var derivation = r.Sequence("keyDerivationFunc");
        if (derivation.ObjectIdentifier("keyDerivationFunc") != CmpOids.Pbkdf2)
        {
            derivation.Fail("keyDerivationFunc", "not PBKDF2");
        }

        var kdf = derivation.Sequence("PBKDF2-params");
        derivation.End("keyDerivationFunc");
        var salt = kdf.OctetString("salt");
        var iterations = kdf.SmallInteger("iterationCount");
        int? length = kdf.Next(Asn1Tag.Integer) ? kdf.SmallInteger("keyLength") : null;
        var prf = kdf.More ? kdf.Algorithm("prf") : AlgorithmIdentifier.WithNull(CmpOids.HmacSha1);
        kdf.End("PBKDF2-params");
        parameters = new Pbmac1Parameters(salt, iterations, length, prf, r.Algorithm("messageAuthScheme"));
        r.End("PBMAC1-params");
        error = fault.Error ?? default;
        return fault.Error is null;
    }

    public AlgorithmIdentifier ToAlgorithm()
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            using (writer.PushSequence())
            {
                writer.WriteObjectIdentifier(CmpOids.Pbkdf2);
                using (writer.PushSequence())
                {
                    writer.WriteOctetString(Salt.Span);
                    writer.WriteInteger(Iterations);
                    if (KeyLength is { } length)
                    {
                        writer.WriteInteger(length);
                    }

                    Prf.Write(writer);
                }
            }

            Mac.Write(writer);
        }

        return new AlgorithmIdentifier(CmpOids.Pbmac1, writer.Encode());
    }
}
