using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>One request of ours: what it carries, and what its answer means. Belongs to an IKE SA; one that waits moves to the SA's successor when that is rekeyed.</summary>
internal abstract class IkeTask(IkeSa sa) : IDisposable
{
    public IkeSa Sa { get; set; } = sa;

    public abstract IkeExchange Exchange { get; }

    protected IkeEngine Engine => Sa.Engine;

    /// <summary>Payloads of the request; null when there is nothing left to ask for.</summary>
    public abstract IReadOnlyList<IkePayload>? Build();

    /// <summary>The datagrams that were sent for it.</summary>
    public virtual void Sent(IReadOnlyList<byte[]> datagrams)
    {
    }

    /// <summary>Takes the answer, which is authentic and legal for the exchange.</summary>
    public abstract void Process(IReadOnlyList<IkePayload> payloads);

    public virtual void Dispose()
    {
    }

    protected static NotifyPayload? Notify(IReadOnlyList<IkePayload> payloads, IkeNotifyType type) => payloads.OfType<NotifyPayload>().FirstOrDefault(n => n.NotifyType == type);

    protected static NotifyPayload? Error(IReadOnlyList<IkePayload> payloads) => payloads.OfType<NotifyPayload>().FirstOrDefault(n => n.IsError);

    /// <summary>The group that an INVALID_KE_PAYLOAD asks for; 0 when it asks for none (RFC 7296 1.3).</summary>
    protected static ushort GroupOf(NotifyPayload notify) => notify.Data.Length == 2 ? (ushort)((notify.Data.Span[0] << 8) | notify.Data.Span[1]) : IkeGroup.None;
}

/// <summary>An empty INFORMATIONAL: does the peer live? (RFC 7296 2.4).</summary>
internal sealed class LivenessTask(IkeSa sa) : IkeTask(sa)
{
    public override IkeExchange Exchange => IkeExchange.Informational;

    public override IReadOnlyList<IkePayload>? Build() => Sa.IsEstablished ? [] : null;

    public override void Process(IReadOnlyList<IkePayload> payloads)
    {
        // That it came is all that was asked.
    }
}

/// <summary>Deletes the IKE SA with all that is under it (RFC 7296 1.4.1).</summary>
internal sealed class DeleteIkeTask(IkeSa sa) : IkeTask(sa)
{
    public override IkeExchange Exchange => IkeExchange.Informational;

    public override IReadOnlyList<IkePayload>? Build() => [DeletePayload.OfIkeSa];

    public override void Process(IReadOnlyList<IkePayload> payloads) =>
        Sa.End(Sa.Successor is null ? IkeEnd.Deleted : IkeEnd.Rekeyed, Sa.Successor is null ? "deleted by us" : "rekeyed", linger: false);
}

/// <summary>Deletes one child SA. Nothing is sent when it has gone by itself meanwhile.</summary>
internal sealed class DeleteChildTask : IkeTask
{
    private readonly EstablishedChild _child;

    public DeleteChildTask(IkeSa sa, EstablishedChild child)
        : base(sa)
    {
        _child = child;
        child.Deleting = true;
    }

    public override IkeExchange Exchange => IkeExchange.Informational;

    public override IReadOnlyList<IkePayload>? Build() => Sa.Children.Contains(_child) ? [new DeletePayload(IkeProtocol.Esp, [_child.Sa.Inbound.Spi])] : null;

    public override void Process(IReadOnlyList<IkePayload> payloads) => Sa.RemoveChild(_child, _child.Replaced ? "rekeyed" : "deleted by us");
}
