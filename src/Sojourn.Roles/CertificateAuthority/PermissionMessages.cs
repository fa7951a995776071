using System.Text.Json;
using System.Text.Json.Serialization;
using Sojourn.Engine.CertificateAuthority;

namespace Sojourn.Roles.CertificateAuthority;

/// <summary>Q1 (spec 7.9), POST to <c>/v1/permission</c>: may this identifier be given a prefix?</summary>
/// <param name="Identifier">Host name or distinguished name; brought into canonical form by the authority.</param>
public sealed record PermissionRequest(string Identifier, PermissionPurpose Purpose, string? Asker = null);

/// <summary>Answer to Q1.</summary>
/// <param name="Identifier">In canonical form.</param>
/// <param name="Serial">Certificate the permission goes with; null when there is none.</param>
public sealed record PermissionAnswer(string Identifier, bool Allowed, PermissionReason Reason, string? Serial, DateTimeOffset? NotAfter)
{
    public static PermissionAnswer Of(Permission permission) => new(permission.Identifier, permission.Allowed, permission.Reason, permission.Serial, permission.NotAfter);
}

/// <summary>Q3 (spec 7.9), POST to the receiver's address: an identifier is no longer good. Any 2xx acknowledges it; it may come twice.</summary>
/// <param name="Id">Grows from event to event.</param>
/// <param name="Reason"><c>revoked</c> or <c>operator</c>.</param>
public sealed record WithdrawalEvent(long Id, string Identifier, string Serial, string Reason, DateTimeOffset Time);

/// <summary>JSON of the queries: camel case, enumerations as kebab-case words, unknown members ignored.</summary>
[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, AllowDuplicateProperties = false, RespectRequiredConstructorParameters = true, RespectNullableAnnotations = true, Converters = [typeof(PurposeWords), typeof(ReasonWords)])]
[JsonSerializable(typeof(PermissionRequest))]
[JsonSerializable(typeof(PermissionAnswer))]
[JsonSerializable(typeof(WithdrawalEvent))]
public sealed partial class QueryJson : JsonSerializerContext
{
    internal sealed class PurposeWords() : JsonStringEnumConverter<PermissionPurpose>(JsonNamingPolicy.KebabCaseLower, allowIntegerValues: false);

    internal sealed class ReasonWords() : JsonStringEnumConverter<PermissionReason>(JsonNamingPolicy.KebabCaseLower, allowIntegerValues: false);
}
