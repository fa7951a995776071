using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization;
using Sojourn.Engine.Dhcpv6;

namespace Sojourn.Roles.Queries;

/// <summary>Q2 (spec 7.9), POST to <c>/v1/allocation</c>: does this address lie in an allocated prefix, and is that the identifier's?</summary>
/// <param name="Address">Home address from the key exchange, or any address of the prefix.</param>
/// <param name="Identifier">From the verified certificate.</param>
public sealed record AllocationRequest(string Address, string Identifier);

/// <summary>Answer to Q2.</summary>
/// <param name="Prefix">With its length, when the owner matches.</param>
public sealed record AllocationAnswer(bool Allocated, bool OwnerMatches, string? Prefix, DateTimeOffset? ValidUntil)
{
    public static AllocationAnswer Of(PrefixAllocation allocation) => new(allocation.Allocated, allocation.OwnerMatches, allocation.Prefix?.ToString(), allocation.ValidUntil);

    /// <summary>Null: the answer contradicts itself.</summary>
    public PrefixAllocation? ToAllocation()
    {
        IPNetwork? prefix = null;
        if (Prefix is not null)
        {
            if (!IPNetwork.TryParse(Prefix, out var parsed))
            {
                return null;
            }

            prefix = parsed;
        }

        return OwnerMatches && (!Allocated || prefix is null || ValidUntil is null) ? null : new PrefixAllocation(Allocated, OwnerMatches, prefix, ValidUntil);
    }
}

/// <summary>
/// Q3 (spec 7.9) of a delegating router to a home agent, POST to the receiver's address: an allocation has ended. Any 2xx acknowledges it; it
/// may come twice. The authority's own event (<see cref="CertificateAuthority.WithdrawalEvent"/>) names an identifier and a certificate instead.
/// </summary>
/// <param name="Id">Grows from event to event.</param>
/// <param name="Reason"><c>expired</c>, <c>released</c>, <c>withdrawn</c> or <c>cleared</c>.</param>
public sealed record AllocationEndedEvent(long Id, string Prefix, string Identifier, string Reason, DateTimeOffset Time);

/// <summary>
/// A gateway says whose an IAID of its DUID is, before it asks for the prefix (spec G6); POST to <c>/v1/identity</c>. 204 = so it stands, 403 = not
/// its DUID, 409 = the operator says otherwise.
/// </summary>
/// <param name="Duid">The gateway's, in hexadecimal.</param>
public sealed record IdentityRegistration(string Duid, uint Iaid, string Identifier);

/// <summary>JSON of Q2 and of the delegating router's Q3: camel case, unknown members ignored.</summary>
[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, AllowDuplicateProperties = false, RespectRequiredConstructorParameters = true, RespectNullableAnnotations = true)]
[JsonSerializable(typeof(AllocationRequest))]
[JsonSerializable(typeof(AllocationAnswer))]
[JsonSerializable(typeof(AllocationEndedEvent))]
[JsonSerializable(typeof(IdentityRegistration))]
public sealed partial class AllocationJson : JsonSerializerContext;
