using System.Buffers.Binary;
using System.Security.Cryptography;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>
/// IKE_INTERMEDIATE (RFC 9242) and the additional key exchanges it carries (RFC 9370 2.2.2): each round makes new keys from
/// SK_d of the round before, and AUTH covers every message of them.
///
/// Reading: an additional key exchange is offered only when an IKE SA is set up. A rekeyed one keeps its strength, since its
/// keys come from the old SK_d; IKE_FOLLOWUP_KE is answered with STATE_NOT_FOUND.
/// </summary>
internal sealed partial class IkeSa
{
    private byte[] _boundInitiator = [], _boundResponder = [];
    private uint _intermediates;
    private int _round;

    /// <summary>IntAuth of RFC 9242 3.3.2; empty when there was no such exchange.</summary>
    public byte[] IntermediateAuthentication()
    {
        if (_boundInitiator.Length == 0)
        {
            return [];
        }

        byte[] octets = [.. _boundInitiator, .. _boundResponder, 0, 0, 0, 0];
        BinaryPrimitives.WriteUInt32BigEndian(octets.AsSpan(octets.Length - 4), _intermediates + 1);
        return octets;
    }

    /// <summary>Keys of the next round: SKEYSEED = prf(SK_d, shared | Ni | Nr) (RFC 9370 2.2.2).</summary>
    public void DeriveNextKeys(KeyMaterial shared)
    {
        byte[] nonces = [.. InitiatorNonce.Span, .. ResponderNonce.Span];
        var seed = IkeKeys.SeedOfRekey(Suite!.Prf, Keys!.Derive, shared, nonces);
        var old = Keys;
        SetKeys(Suite, IkeKeys.FromSeed(Suite, seed, nonces, InitiatorSpi, ResponderSpi));
        old.Wipe();
        shared.Wipe();
        CryptographicOperations.ZeroMemory(seed);
        _round++;
    }

    private void BindIntermediate(IkeHeader header, IReadOnlyList<IkePayload> payloads)
    {
        var plaintext = new byte[IkeMessage.PayloadsLength(payloads)];
        IkeMessage.WritePayloads(payloads, plaintext);
        BindIntermediate(header, IkeMessage.FirstType(payloads), plaintext);
    }

    /// <summary>Takes a message of the exchange into what AUTH covers: as if it were neither encrypted nor fragmented, lengths included (RFC 9242 3.3.2).</summary>
    private void BindIntermediate(IkeHeader header, IkePayloadType first, ReadOnlySpan<byte> plaintext)
    {
        var ofInitiator = header.FromInitiator;
        var before = ofInitiator ? _boundInitiator : _boundResponder;
        var input = new byte[before.Length + IkeHeader.WireLength + IkePayload.HeaderLength + plaintext.Length];
        before.CopyTo(input, 0);
        var message = input.AsSpan(before.Length);
        (header with { NextPayload = IkePayloadType.Encrypted }).Write(message, message.Length);
        var payload = message[IkeHeader.WireLength..];
        payload[0] = (byte)first;
        BinaryPrimitives.WriteUInt16BigEndian(payload[2..], (ushort)payload.Length);
        plaintext.CopyTo(payload[IkePayload.HeaderLength..]);
        var bound = PseudoRandomFunction.Compute(Suite!.Prf, (ofInitiator ? Keys!.AuthInitiator : Keys!.AuthResponder).Octets, input);
        if (ofInitiator)
        {
            (_boundInitiator, _intermediates) = (bound, _intermediates + 1);
        }
        else
        {
            _boundResponder = bound;
        }
    }

    private void AnswerIntermediate(IReadOnlyList<IkePayload> payloads)
    {
        if (payloads.OfType<KeyExchangePayload>().FirstOrDefault() is not { } ke)
        {
            Respond([]);
            return;
        }

        var groups = Suite!.AdditionalGroups;
        if (_round >= groups.Count || ke.Group != groups[_round] || !Engine.KeyExchanges.TryAnswer(ke.Group, ke.Data.Span, Engine.Random, out var own, out var shared))
        {
            RefuseMalformed("the key exchange is not the one agreed");
            return;
        }

        Respond([new KeyExchangePayload(ke.Group, own)]);
        DeriveNextKeys(shared);
    }

    private void AnswerFollowup(IReadOnlyList<IkePayload> payloads) => Respond(IkeNotifyType.StateNotFound);
}

/// <summary>One additional key exchange as initiator.</summary>
internal sealed class IntermediateTask(IkeSa sa, int round) : IkeTask(sa)
{
    private IPendingKeyExchange? _keyExchange;

    public override IkeExchange Exchange => IkeExchange.IkeIntermediate;

    public override IReadOnlyList<IkePayload>? Build()
    {
        _keyExchange = Engine.KeyExchanges.Begin(Sa.Suite!.AdditionalGroups[round], Engine.Random);
        return [new KeyExchangePayload(_keyExchange.Group, _keyExchange.PublicValue.Span)];
    }

    public override void Process(IReadOnlyList<IkePayload> payloads)
    {
        if (payloads.OfType<KeyExchangePayload>().FirstOrDefault() is not { } ke || ke.Group != _keyExchange!.Group || !_keyExchange.TryComplete(ke.Data.Span, out var shared))
        {
            Sa.End(IkeEnd.Refused, "the additional key exchange failed", linger: false);
            return;
        }

        Dispose();
        Sa.DeriveNextKeys(shared);
        if (round + 1 < Sa.Suite!.AdditionalGroups.Count)
        {
            Sa.Enqueue(new IntermediateTask(Sa, round + 1));
        }
        else
        {
            Sa.Enqueue(Sa.NewAuthTask());
        }
    }

    public override void Dispose()
    {
        _keyExchange?.Dispose();
        _keyExchange = null;
    }
}
