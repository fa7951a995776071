using System.Net;
using System.Security.Cryptography;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;

namespace Sojourn.DataPath.Xfrm;

/// <summary>
/// The kernel's IPsec databases of one network namespace, over netlink (linux/xfrm.h): associations ("states") and policies. Belongs
/// to the namespace of the thread that made it; one call at a time. Every failure is a <see cref="NetlinkException"/>.
/// </summary>
internal sealed class XfrmDatabase : IDisposable
{
    private readonly NetlinkSocket _socket = new(protocol: NetlinkRequest.Xfrm);
    private readonly NetlinkSocket _notices = new(XfrmFormat.GroupState, NetlinkRequest.Xfrm);

    /// <summary>Why the kernel of this namespace cannot carry ESP; null = it can. It is asked for an association to nobody.</summary>
    public static string? Lacking()
    {
        var nobody = new XfrmState
        {
            Protocol = SecurityType.Esp,
            Parameters = new SaParameters
            {
                Spi = 0x100,
                Source = IPAddress.Loopback,
                Destination = IPAddress.Loopback,
                Algorithm = IpsecAlgorithm.Aes128Gcm16,
                Keys = new AssociationKeys(new KeyMaterial(RandomNumberGenerator.GetBytes(IpsecAlgorithm.Aes128Gcm16.EncryptionKeyLength())), new KeyMaterial([])),
            },
            RequestId = 1,
            Mark = 1,
        };
        try
        {
            using var database = new XfrmDatabase();
            database.Add(nobody);
            database.Delete(nobody.Key);
            return null;
        }
        catch (SystemCallException refused)
        {
            return refused.Message;
        }
    }

    public void Add(XfrmState state) => _socket.Execute(XfrmFormat.WriteState(state, update: false), $"add association {Name(state.Key)}");

    /// <summary>Takes over the limits of <paramref name="state"/>, nothing else.</summary>
    public void Update(XfrmState state) => _socket.Execute(XfrmFormat.WriteState(state, update: true), $"change association {Name(state.Key)}");

    /// <summary>One that is gone already is no error.</summary>
    public void Delete(XfrmStateKey key) => Quietly(XfrmFormat.WriteStateId(XfrmFormat.DeleteState, key), $"remove association {Name(key)}");

    /// <summary>
    /// Takes an association away and tells how it stood at its end. Asking before would miss packets: only the notice of the removal
    /// is written when no packet can use it any more.
    /// </summary>
    /// <returns>Null when it was gone already, or the kernel lost the notice.</returns>
    public XfrmStateReport? Remove(XfrmStateKey key)
    {
        // What was told meanwhile of other changes. Each turn ends where something of it was lost.
        for (var turn = 0; turn < 8 && !_notices.ReadNotices((_, _) => { }); turn++)
        {
        }

        Delete(key);
        XfrmStateReport? last = null;
        _notices.ReadNotices((type, body) =>
        {
            if (type == XfrmFormat.DeleteState && XfrmFormat.ParseRemoved(body) is { } removed && removed.Key == key)
            {
                last = removed;
            }
        });
        return last;
    }

    /// <summary>Sets a policy, or replaces the one of that name as one step for every packet.</summary>
    public void Put(XfrmPolicy policy) => _socket.Execute(XfrmFormat.WritePolicy(policy), $"set policy {policy.Key}");

    /// <inheritdoc cref="Delete(XfrmStateKey)"/>
    public void Delete(XfrmPolicyKey key) => Quietly(XfrmFormat.WritePolicyId(key), $"remove policy {key}");

    /// <summary>One association; null when the kernel has none of that name.</summary>
    public XfrmStateReport? Find(XfrmStateKey key)
    {
        XfrmStateReport? found = null;
        try
        {
            _socket.Query(() => XfrmFormat.WriteStateId(XfrmFormat.GetState, key), $"find association {Name(key)}", () => found = null, (_, body) => found = XfrmFormat.ParseState(body));
        }
        catch (NetlinkException refused) when (refused.Errno == Libc.ESRCH)
        {
            return null;
        }

        return found;
    }

    /// <summary>All associations of the namespace, whoever made them.</summary>
    public IReadOnlyList<XfrmStateReport> States()
    {
        var states = new List<XfrmStateReport>();
        _socket.Query(() => new NetlinkRequest(XfrmFormat.GetState, NetlinkRequest.Dump), "list associations", states.Clear, (_, body) =>
        {
            if (XfrmFormat.ParseState(body) is { } state)
            {
                states.Add(state);
            }
        });
        return states;
    }

    /// <summary>All policies of the namespace, whoever made them, but those of sockets.</summary>
    public IReadOnlyList<(XfrmPolicyKey Key, uint Priority)> Policies()
    {
        var policies = new List<(XfrmPolicyKey, uint)>();
        _socket.Query(() => new NetlinkRequest(XfrmFormat.GetPolicy, NetlinkRequest.Dump), "list policies", policies.Clear, (_, body) =>
        {
            if (XfrmFormat.ParsePolicy(body) is { } policy)
            {
                policies.Add(policy);
            }
        });
        return policies;
    }

    public void Dispose()
    {
        _socket.Dispose();
        _notices.Dispose();
    }

    private void Quietly(NetlinkRequest request, string operation)
    {
        try
        {
            _socket.Execute(request, operation);
        }
        catch (NetlinkException refused) when (refused.Errno is Libc.ESRCH or Libc.ENOENT)
        {
        }
    }

    private static string Name(XfrmStateKey key) => $"{key.Protocol} 0x{key.Spi:x8} to {key.Destination}";
}
