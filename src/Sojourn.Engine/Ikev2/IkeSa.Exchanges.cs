using System.Net;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>
/// The exchange manager of an IKE SA: message identifiers, retransmission, answers from memory, fragments. One request each
/// way at a time (RFC 7296 2.1 to 2.4).
/// </summary>
internal sealed partial class IkeSa
{
    private readonly LinkedList<IkeTask> _waiting = new();
    private IkeTask? _active;
    private uint _nextRequest, _expectedRequest;

    private IReadOnlyList<byte[]> _sent = [];
    private int _transmissions;
    private DateTimeOffset? _retransmitAt;
    private bool _suspended;

    // The peer's request that is being answered, and the last one with its answer.
    private Question? _question;
    private byte[] _lastRequest = [];
    private IReadOnlyList<byte[]> _lastResponse = [];

    private Reassembly? _requestParts, _responseParts;

    private sealed record Question(IkeHeader Header, byte[] Octets, IPEndPoint Source, IPEndPoint Destination);

    /// <summary>The request of ours that waits for an answer.</summary>
    public IkeTask? Active => _active;

    private int? FragmentLimit => PeerFragments ? Engine.Options.FragmentLength : null;

    public void Enqueue(IkeTask task, bool first = false)
    {
        if (first)
        {
            _waiting.AddFirst(task);
        }
        else
        {
            _waiting.AddLast(task);
        }

        StartNext();
    }

    /// <summary>Sends the same request anew with other contents, as IKE_SA_INIT does after a cookie (RFC 7296 2.6).</summary>
    public void BeginAgain(IkeTask task)
    {
        _nextRequest--;
        _waiting.AddFirst(task);
    }

    /// <summary>Starts no further request until <see cref="Resume"/>: an answer waits for the outside.</summary>
    public void Suspend() => _suspended = true;

    public void Resume()
    {
        _suspended = false;
        StartNext();
    }

    /// <summary>One request without waiting for its answer, for the last words of a failed negotiation.</summary>
    public void SendOnce(IkeExchange exchange, IReadOnlyList<IkePayload> payloads) =>
        Transmit(MessageProtection.Seal(Header(exchange, IkeFlags.None, _nextRequest++), payloads, Outgoing!, Engine.Random, FragmentLimit), Local, Remote);

    public void Receive(IkeMessage message, ReadOnlyMemory<byte> octets, IPEndPoint source, IPEndPoint destination)
    {
        var header = message.Header;
        if (header.FromInitiator == IsInitiator)
        {
            Engine.Effects.Count("ike.message.reflected");
            return;
        }

        if (header.Exchange == IkeExchange.IkeSaInit)
        {
            // Only the address tells who answers here; the SPI that nobody else has seen tells the rest.
            if (_active is InitTask init && header.MessageId == 0 && source.Address.Equals(Remote.Address))
            {
                (_active, _retransmitAt) = (null, null);
                _nextRequest++;
                init.ProcessInit(message, octets);
                StartNext();
            }
            else
            {
                Engine.Effects.Count("ike.response.stale");
            }

            return;
        }

        if (header.InitiatorSpi == InitiatorSpi && header.ResponderSpi == ResponderSpi && EndsByCrashToken(message))
        {
            return;
        }

        if (header.InitiatorSpi != InitiatorSpi || header.ResponderSpi != ResponderSpi || Incoming is null || message.Payloads is not [EncryptedPayload or EncryptedFragmentPayload])
        {
            Engine.Effects.Count("ike.message.unprotected");
            return;
        }

        if (header.IsResponse)
        {
            if (_active is null || header.MessageId != _nextRequest || header.Exchange != _active.Exchange)
            {
                Engine.Effects.Count("ike.response.stale");
                return;
            }
        }
        else if (header.MessageId != _expectedRequest)
        {
            RepeatResponse(header, octets.Span, source, destination);
            return;
        }
        else if (_question is not null || State == IkeSaState.Closed)
        {
            Engine.Effects.Count("ike.request.in_progress");
            return;
        }

        var part = message.Payloads[0];
        if (Incoming.Open(octets.Span, MessageProtection.IvOffset(part)) is not { } plaintext)
        {
            Engine.Effects.Count("ike.message.bad_integrity");
            return;
        }

        LastHeard = Engine.Now;
        var first = part is EncryptedPayload whole ? whole.FirstInside : IkePayloadType.None;
        if (part is EncryptedFragmentPayload fragment)
        {
            ref var parts = ref header.IsResponse ? ref _responseParts : ref _requestParts;
            parts ??= new Reassembly();
            if (!header.IsResponse && fragment.Number == 1)
            {
                _lastRequest = octets.ToArray();
            }

            if (!PeerFragments || parts.Add(fragment, plaintext) is not { } complete)
            {
                Engine.Effects.Count("ike.message.fragment");
                return;
            }

            parts = null;
            (first, plaintext) = complete;
        }

        if (header.Exchange == IkeExchange.IkeIntermediate)
        {
            BindIntermediate(header, first, plaintext);
        }

        FollowNat(source, destination);
        if (header.IsResponse)
        {
            TakeResponse(header, first, plaintext);
        }
        else
        {
            _question = new Question(header, part is EncryptedFragmentPayload ? _lastRequest : octets.ToArray(), source, destination);
            TakeRequest(header, first, plaintext);
        }
    }

    /// <summary>Answers the peer's request and remembers both.</summary>
    public void Respond(IReadOnlyList<IkePayload> payloads)
    {
        var question = _question!;
        _question = null;
        _lastRequest = question.Octets;
        if (question.Header.Exchange == IkeExchange.IkeIntermediate)
        {
            BindIntermediate(Header(question.Header.Exchange, IkeFlags.Response, _expectedRequest), payloads);
        }

        _lastResponse = MessageProtection.Seal(Header(question.Header.Exchange, IkeFlags.Response, _expectedRequest++), payloads, Outgoing!, Engine.Random, FragmentLimit);
        Transmit(_lastResponse, question.Destination, question.Source);
    }

    /// <summary>Answers with one notification.</summary>
    public void Respond(IkeNotifyType notify) => Respond([new NotifyPayload(notify)]);

    private void TakeResponse(IkeHeader header, IkePayloadType first, byte[] plaintext)
    {
        if (!IkeMessage.TryParsePayloads(plaintext, first, 0, out var payloads, out var error) || payloads.OfType<UnknownPayload>().Any(p => p.Critical))
        {
            EndMalformed(error.ToString());
            return;
        }

        if (PayloadRules.Check(header.Exchange, response: true, payloads) is { } fault)
        {
            EndMalformed(fault.ToString());
            return;
        }

        var task = _active!;
        (_active, _retransmitAt) = (null, null);
        _nextRequest++;
        task.Process(payloads);
        StartNext();
    }

    private void TakeRequest(IkeHeader header, IkePayloadType first, byte[] plaintext)
    {
        IReadOnlyList<IkePayload>? payloads;
        if (!IkeMessage.TryParsePayloads(plaintext, first, 0, out payloads, out var error))
        {
            RefuseMalformed(error.ToString());
        }
        else if (payloads.OfType<UnknownPayload>().FirstOrDefault(p => p.Critical) is { } critical)
        {
            Engine.Effects.Count("ike.request.critical");
            Respond([new NotifyPayload(IkeNotifyType.UnsupportedCriticalPayload, (byte[])[(byte)critical.Type])]);
        }
        else if (PayloadRules.Check(header.Exchange, response: false, payloads) is { } fault)
        {
            RefuseMalformed(fault.ToString());
        }
        else
        {
            AnswerRequest(header.Exchange, payloads);
        }
    }

    private void AnswerRequest(IkeExchange exchange, IReadOnlyList<IkePayload> payloads)
    {
        var isUp = State is IkeSaState.Established or IkeSaState.Closing;
        switch (exchange)
        {
            case IkeExchange.IkeAuth when State == IkeSaState.Negotiating && !IsInitiator:
                AnswerAuth(payloads);
                break;
            case IkeExchange.IkeIntermediate when State == IkeSaState.Negotiating && !IsInitiator:
                AnswerIntermediate(payloads);
                break;
            case IkeExchange.CreateChildSa when isUp:
                AnswerCreateChild(payloads);
                break;
            case IkeExchange.IkeFollowupKe when isUp:
                AnswerFollowup(payloads);
                break;
            case IkeExchange.Informational when isUp:
                AnswerInformational(payloads);
                break;
            default:
                // Authentic, and yet not its time: nothing an honest peer does.
                Engine.Effects.Count("ike.request.untimely");
                _question = null;
                break;
        }
    }

    /// <summary>A malformed message that is authentic is fatal for both ends (RFC 7296 2.21.3).</summary>
    private void RefuseMalformed(string fault)
    {
        Engine.Effects.Count("ike.request.malformed");
        Respond(IkeNotifyType.InvalidSyntax);
        End(IkeEnd.Refused, "malformed request: " + fault, linger: true);
    }

    private void EndMalformed(string fault)
    {
        Engine.Effects.Count("ike.response.malformed");
        End(IkeEnd.Refused, "malformed response: " + fault, linger: false);
    }

    private void RepeatResponse(IkeHeader header, ReadOnlySpan<byte> octets, IPEndPoint source, IPEndPoint destination)
    {
        if (header.MessageId + 1 != _expectedRequest)
        {
            Engine.Effects.Count("ike.request.out_of_window");
        }
        else if (_lastResponse.Count > 0 && octets.SequenceEqual(_lastRequest))
        {
            Engine.Effects.Count("ike.response.repeated");
            Transmit(_lastResponse, destination, source);
        }
        else
        {
            // Other fragments of a request answered by its first one, or a forgery.
            Engine.Effects.Count("ike.request.repeated_otherwise");
        }
    }

    private void StartNext()
    {
        while (_active is null && !_suspended && State != IkeSaState.Closed && _waiting.First is { } next)
        {
            _waiting.RemoveFirst();
            var task = next.Value;
            if (task.Build() is not { } payloads)
            {
                continue;
            }

            _active = task;
            _responseParts = null;
            var header = Header(task.Exchange, IkeFlags.None, _nextRequest);
            if (task.Exchange == IkeExchange.IkeIntermediate)
            {
                BindIntermediate(header, payloads);
            }

            _sent = task.Exchange == IkeExchange.IkeSaInit
                ? [new IkeMessage(header, payloads).ToArray()]
                : MessageProtection.Seal(header, payloads, Outgoing!, Engine.Random, FragmentLimit);
            task.Sent(_sent);
            _transmissions = 1;
            _retransmitAt = Engine.Now + Engine.Options.RetransmitAfter;
            Transmit(_sent, Local, Remote);
            Engine.Schedule(this);
        }
    }

    private void Retransmit()
    {
        var options = Engine.Options;
        if (_transmissions >= options.Transmissions)
        {
            End(IkeEnd.Timeout, "the peer does not answer", linger: false);
            return;
        }

        _retransmitAt = Engine.Now + (options.RetransmitAfter * Math.Pow(options.RetransmitFactor, _transmissions++));
        Engine.Effects.Count("ike.request.retransmitted");
        Transmit(_sent, Local, Remote);
    }

    /// <summary>What is outstanding goes out at once from the address that is now ours (RFC 4555 3.5).</summary>
    private void RetransmitFromHere()
    {
        if (_active is not null)
        {
            (_transmissions, _retransmitAt) = (1, Engine.Now + Engine.Options.RetransmitAfter);
            Transmit(_sent, Local, Remote);
        }
    }

    private void AbandonTasks()
    {
        _active?.Dispose();
        foreach (var task in _waiting)
        {
            task.Dispose();
        }

        _waiting.Clear();
        (_active, _retransmitAt, _question) = (null, null, null);
    }

    private void MigrateTasksTo(IkeSa successor)
    {
        foreach (var task in _waiting.Where(t => t is not (DeleteIkeTask or RekeyIkeTask or LivenessTask)).ToList())
        {
            _waiting.Remove(task);
            task.Sa = successor;
            successor._waiting.AddLast(task);
        }

        successor.StartNext();
    }

    private IkeHeader Header(IkeExchange exchange, IkeFlags flags, uint messageId) =>
        new(InitiatorSpi, ResponderSpi, exchange, flags | (IsInitiator ? IkeFlags.Initiator : IkeFlags.None), messageId);

    private void Transmit(IReadOnlyList<byte[]> datagrams, IPEndPoint from, IPEndPoint to)
    {
        foreach (var datagram in datagrams)
        {
            Engine.Send(from, to, datagram);
        }
    }
}
