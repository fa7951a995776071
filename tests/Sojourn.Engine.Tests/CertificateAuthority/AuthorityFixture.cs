using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Wire.Cmp;
using Xunit;

namespace Sojourn.Engine.Tests.CertificateAuthority;

/// <summary>
/// An authority over a store in memory, on a clock of its own, and a requester that speaks CMP with code of its own for
/// everything that is cryptography.
/// </summary>
internal sealed class AuthorityFixture : IDisposable
{
    public const string Mn1 = "mn1.home.example";
    public const string Mn2 = "mn2.home.example";

    private static readonly Lazy<(byte[] Certificate, KeyMaterial Key)> s_own = new(() => EcdsaSigner.Create("CN=Home CA,O=Home", strong: false, Begin.AddDays(-1), Begin.AddYears(10), SystemRandomSource.Instance));

    private readonly EcdsaSigner _signer = new(s_own.Value.Certificate, s_own.Value.Key);

    public AuthorityFixture(AuthorityOptions? options = null)
    {
        Options = options ?? new AuthorityOptions();
        Authority = new CertificationAuthority(_signer, Options, SystemRandomSource.Instance);
        Store.Add(Mn1);
        Store.Add(Mn2);
        Store.AddSecret("mn1", Mn1, "a long secret of mn1", Begin.AddDays(7));
        Store.AddSecret("mn2", Mn2, "a long secret of mn2", Begin.AddDays(7));
    }

    public static DateTimeOffset Begin { get; } = new(2026, 11, 21, 12, 0, 0, TimeSpan.Zero);

    public AuthorityOptions Options { get; }

    public CertificationAuthority Authority { get; }

    public MemoryStore Store { get; } = new();

    public DateTimeOffset Now { get; set; } = Begin;

    /// <summary>Counters of the last request.</summary>
    public Dictionary<string, long> Counted { get; } = [];

    public List<EngineEvent> Events { get; } = [];

    public void Dispose() => _signer.Dispose();

    /// <summary>Whatever one wants the authority to have said.</summary>
    public byte[] Signed(PkiHeader header, PkiBodyType type, Action<AsnWriter> body)
    {
        Assert.True(CertificateFields.TryParse(_signer.Certificate, out var own, out _));
        var sender = CertificateEncoder.DirectoryName(own.Subject.Span);
        return PkiMessage.Encode(header with { Sender = sender, ProtectionAlgorithm = _signer.Algorithm }, type, body, part => _signer.Sign(part.Span), [_signer.Certificate]);
    }

    /// <summary>Has a message answered and its changes applied.</summary>
    public Answer Ask(byte[] message, bool apply = true)
    {
        var effects = new EffectSink();
        var octets = Authority.Answer(message, "192.0.2.1", Store, Now, effects);
        if (apply)
        {
            Store.Apply(effects.Effects);
        }

        foreach (var effect in effects.Effects)
        {
            if (effect is CountEvent count)
            {
                Counted[count.Counter] = Counted.GetValueOrDefault(count.Counter) + count.Amount;
            }
            else if (effect is Report report)
            {
                Events.Add(report.Event);
            }
        }

        Assert.True(PkiMessage.TryParse(octets, out var response, out var error), error.ToString());
        return new Answer(response);
    }

    public void RunOut(TimeSpan time)
    {
        Now += time;
        var effects = new EffectSink();
        CertificationAuthority.RevokeOverdue(Store, Now, effects);
        Store.Apply(effects.Effects);
    }

    /// <summary>Enrols with a secret and confirms.</summary>
    public (ECDsa Key, byte[] Certificate) Enrolled(string identifier = Mn1)
    {
        var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var asker = new Asker(this) { Secret = Encoding.ASCII.GetString(Store.Secrets[identifier[..3]].Secret.Octets), Reference = identifier[..3] };
        var response = Ask(asker.Request(PkiBodyType.InitializationRequest, key, identifier));
        Ask(asker.Confirm(response));
        return (key, response.Certificate!);
    }
}

/// <summary>A response taken apart.</summary>
internal sealed record Answer(PkiMessage Message)
{
    public PkiStatusInfo Status => Message.BodyType switch
    {
        PkiBodyType.Error => PkiBodies.TryParseError(Message.Body, out var status, out _) ? status : throw new InvalidDataException(),
        PkiBodyType.RevocationResponse => Revocation(),
        _ => Response().Status,
    };

    /// <summary>The only bit of failInfo; null when there is none.</summary>
    public PkiFailure? Failure => Status.Failures.Count == 0 ? null : (PkiFailure)Status.Failures.Single();

    public byte[]? Certificate => Response().Certificate?.ToArray();

    public IReadOnlyList<ReadOnlyMemory<byte>> Authorities => CertResponse.TryParseAll(Message.Body, out _, out var authorities, out _) ? authorities : [];

    public CertResponse Response() => CertResponse.TryParseAll(Message.Body, out var responses, out _, out var error) ? responses.Single() : throw new InvalidDataException(error.ToString());

    private PkiStatusInfo Revocation()
    {
        // rp has the shape of error content around its first status: SEQUENCE { SEQUENCE { status … } }.
        var outer = new AsnReader(Message.Body, AsnEncodingRules.DER).ReadSequence();
        return PkiBodies.TryParseError(outer.ReadEncodedValue(), out var status, out _) ? status : throw new InvalidDataException();
    }
}

/// <summary>A requester: with <see cref="Secret"/>, or with <see cref="Certificate"/> and <see cref="Key"/>.</summary>
internal sealed class Asker(AuthorityFixture fixture)
{
    public string Secret { get; init; } = "a long secret of mn1";

    public string Reference { get; init; } = "mn1";

    public byte[]? Certificate { get; init; }

    public ECDsa? Key { get; init; }

    public bool Pbmac1 { get; init; }

    public int Iterations { get; init; } = 500;

    public string MacOid { get; init; } = CmpOids.HmacSha256;

    public byte[] Transaction { get; set; } = RandomNumberGenerator.GetBytes(16);

    public int Version { get; init; } = PkiHeader.Version2;

    public TimeSpan ClockError { get; init; }

    public bool ImplicitConfirmation { get; init; }

    /// <summary>ir, cr or kur for a key.</summary>
    /// <param name="change">Last change of the request.</param>
    public byte[] Request(PkiBodyType type, AsymmetricAlgorithm key, string? identifier, Func<CertReqMsg, CertReqMsg>? change = null, bool name = true, HashAlgorithmName? hash = null)
    {
        Transaction = RandomNumberGenerator.GetBytes(16);
        return Message(type, writer => CertReqMsg.WriteAll(writer, [Build(key, identifier, change, name, hash)]));
    }

    public byte[] Confirm(Answer response, PkiStatusInfo? status = null, byte[]? hash = null, byte[]? nonce = null)
    {
        var certificate = response.Certificate;
        return Message(PkiBodyType.CertificateConfirm, writer =>
        {
            using (writer.PushSequence())
            {
                new CertStatus(hash ?? SHA256.HashData(certificate!), 0, status, null).Write(writer);
            }
        }, nonce ?? response.Message.Header.SenderNonce.ToArray());
    }

    public byte[] Message(PkiBodyType type, Action<AsnWriter> body, byte[]? recipientNonce = null, Func<PkiHeader, PkiHeader>? change = null)
    {
        var header = new PkiHeader
        {
            Version = Version,
            MessageTime = fixture.Now + ClockError,
            TransactionId = Transaction,
            SenderNonce = RandomNumberGenerator.GetBytes(16),
            RecipientNonce = recipientNonce ?? [],
            GeneralInfo = ImplicitConfirmation ? [new InfoTypeAndValue(CmpOids.ImplicitConfirm, (byte[])[5, 0])] : [],
        };
        if (Certificate is not null)
        {
            header = header with { ProtectionAlgorithm = new AlgorithmIdentifier(CmpOids.EcdsaSha256) };
            return PkiMessage.Encode(change?.Invoke(header) ?? header, type, body, part => Key!.SignData(part.Span, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence), [Certificate]);
        }

        var salt = RandomNumberGenerator.GetBytes(16);
        var mac = AlgorithmIdentifier.WithNull(MacOid);
        header = header with
        {
            SenderKeyId = Encoding.UTF8.GetBytes(Reference),
            ProtectionAlgorithm = Pbmac1
                ? new Pbmac1Parameters(salt, Iterations, 32, mac, mac).ToAlgorithm()
                : new PasswordBasedMacParameters(salt, new AlgorithmIdentifier(CmpOids.Sha256), Iterations, mac).ToAlgorithm(),
        };
        return PkiMessage.Encode(change?.Invoke(header) ?? header, type, body, part => Mac(part.ToArray(), salt));
    }

    /// <summary>Whether a response is protected with this requester's secret.</summary>
    public bool Trusts(Answer answer)
    {
        var algorithm = answer.Message.Header.ProtectionAlgorithm!.Value;
        var (salt, iterations) = PasswordBasedMacParameters.TryParse(algorithm.Parameters, out var p, out _) ? (p.Salt.ToArray(), p.Iterations)
            : Pbmac1Parameters.TryParse(algorithm.Parameters, out var q, out _) ? (q.Salt.ToArray(), q.Iterations) : throw new InvalidDataException();
        return Mac(answer.Message.ProtectedPart.ToArray(), salt, iterations, CmpOids.HmacSha256).AsSpan().SequenceEqual(answer.Message.Protection.Span);
    }

    private static CertReqMsg Build(AsymmetricAlgorithm key, string? identifier, Func<CertReqMsg, CertReqMsg>? change, bool name, HashAlgorithmName? hash)
    {
        var template = new CertTemplate
        {
            PublicKey = key.ExportSubjectPublicKeyInfo(),
            Subject = identifier is null || !name ? default(ReadOnlyMemory<byte>) : new X500DistinguishedName(identifier.Contains('=') ? identifier : "CN=" + identifier).RawData,
            Extensions = identifier is null || identifier.Contains('=') ? [] : [new CertificateExtension(CmpOids.SubjectAlternativeName, false, new GeneralNames([identifier], [], 0).ToArray())],
        };
        var request = change?.Invoke(new CertReqMsg { Id = 0, Template = template }) ?? new CertReqMsg { Id = 0, Template = template };
        if (request.Possession != ProofOfPossession.None)
        {
            return request;
        }

        var octets = CertReqMsg.EncodeRequest(request.Id, request.Template, request.Controls);
        var digest = hash ?? HashAlgorithmName.SHA256;
        var (oid, signature) = key switch
        {
            ECDsa ec => (digest == HashAlgorithmName.SHA1 ? "1.2.840.10045.4.1" : CmpOids.EcdsaSha256, ec.SignData(octets, digest, DSASignatureFormat.Rfc3279DerSequence)),
            RSA rsa => (CmpOids.RsaSha256, rsa.SignData(octets, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)),
            _ => throw new ArgumentException($"requests signed by {key.GetType().Name} are not made here", nameof(key)),
        };
        return request with
        {
            Request = octets,
            Possession = ProofOfPossession.Signature,
            PossessionAlgorithm = oid == CmpOids.RsaSha256 ? AlgorithmIdentifier.WithNull(oid) : new AlgorithmIdentifier(oid),
            PossessionSignature = signature,
        };
    }

    private byte[] Mac(byte[] part, byte[] salt) => Mac(part, salt, Iterations, MacOid);

    private byte[] Mac(byte[] part, byte[] salt, int iterations, string oid)
    {
        var hash = oid == CmpOids.HmacSha256 ? HashAlgorithmName.SHA256 : HashAlgorithmName.SHA1;
        byte[] key;
        if (Pbmac1)
        {
            key = Rfc2898DeriveBytes.Pbkdf2(Encoding.ASCII.GetBytes(Secret), salt, iterations, hash, 32);
        }
        else
        {
            key = [.. Encoding.ASCII.GetBytes(Secret), .. salt];
            for (var i = 0; i < iterations; i++)
            {
                key = SHA256.HashData(key);
            }
        }

        return hash == HashAlgorithmName.SHA256 ? HMACSHA256.HashData(key, part) : HMACSHA1.HashData(key, part);
    }
}
