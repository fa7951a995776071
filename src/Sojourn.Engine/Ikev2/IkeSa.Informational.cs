using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>INFORMATIONAL as responder: deletions, liveness, MOBIKE (RFC 7296 1.4, RFC 4555 3).</summary>
internal sealed partial class IkeSa
{
    private void AnswerInformational(IReadOnlyList<IkePayload> payloads)
    {
        if (payloads.OfType<NotifyPayload>().FirstOrDefault(n => n.NotifyType is IkeNotifyType.AuthenticationFailed or IkeNotifyType.InvalidSyntax) is { } error)
        {
            // The initiator did not believe us (2.21.2).
            Respond([]);
            End(IkeEnd.Refused, $"the peer answers {error.NotifyType}", linger: true);
            return;
        }

        if (payloads.OfType<DeletePayload>().Any(d => d.Protocol == IkeProtocol.Ike))
        {
            (_active as RekeyIkeTask)?.AdoptRival();
            Respond([]);
            End(Successor is null ? IkeEnd.Deleted : IkeEnd.Rekeyed, Successor is null ? "deleted by the peer" : "rekeyed", linger: true);
            return;
        }

        KeepCrashToken(payloads);
        var answer = new List<IkePayload>();
        var deleted = new List<uint>();
        foreach (var spi in payloads.OfType<DeletePayload>().Where(d => d.Protocol == IkeProtocol.Esp).SelectMany(d => d.Spis))
        {
            if (Children.FirstOrDefault(c => c.Sa.Outbound.Spi == spi) is not { } child)
            {
                continue;
            }

            // When both delete it at once, each has named its own half already (1.4.1).
            if (!child.Deleting)
            {
                deleted.Add(child.Sa.Inbound.Spi);
            }

            RemoveChild(child, child.Replaced ? "rekeyed" : "deleted by the peer");
        }

        if (deleted.Count > 0)
        {
            answer.Add(new DeletePayload(IkeProtocol.Esp, deleted));
        }

        AnswerMobike(payloads, answer);
        Respond(answer);
    }
}
