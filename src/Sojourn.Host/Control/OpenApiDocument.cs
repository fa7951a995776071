using System.Net;
using System.Text.Json.Nodes;
using System.Text.Json.Schema;
using Sojourn.Engine;
using Sojourn.Host.Configuration;

namespace Sojourn.Host.Control;

/// <summary>OpenAPI 3.1 from the endpoint declarations and the documents' types.</summary>
internal static class OpenApiDocument
{
    private static readonly JsonSchemaExporterOptions Exporter = new()
    {
        TreatNullObliviousAsNonNullable = true,
        TransformSchemaNode = (context, schema) =>
        {
            var type = Nullable.GetUnderlyingType(context.TypeInfo.Type) ?? context.TypeInfo.Type;
            return type == typeof(IPAddress) ? new JsonObject { ["type"] = "string", ["format"] = "ipv4" }
                : type == typeof(IPNetwork) ? new JsonObject { ["type"] = "string", ["description"] = "prefix A.B.C.D/LENGTH" }
                : type == typeof(PathId) ? new JsonObject { ["type"] = "string" }
                : type.IsEnum ? new JsonObject { ["enum"] = new JsonArray([.. OptionTypes.EnumNames(type).Select(name => (JsonNode)name)]) }
                : schema;
        },
    };

    public static string Of(IReadOnlyList<Endpoint> endpoints)
    {
        var schemas = new JsonObject();
        var paths = new JsonObject();
        foreach (var endpoint in endpoints)
        {
            var operation = new JsonObject
            {
                ["operationId"] = $"{endpoint.Method.ToLowerInvariant()}-{endpoint.Path}",
                ["summary"] = endpoint.Text,
            };
            if (endpoint.Parameters.Count > 0)
            {
                operation["parameters"] = new JsonArray([.. endpoint.Parameters.Select(parameter => (JsonNode)new JsonObject
                {
                    ["name"] = parameter.Name,
                    ["in"] = "query",
                    ["required"] = parameter.Required,
                    ["description"] = parameter.Text,
                    ["schema"] = new JsonObject { ["type"] = "string" },
                })]);
            }

            if (endpoint.Body is { } body)
            {
                operation["requestBody"] = new JsonObject { ["content"] = Content("application/json", Reference(schemas, body)) };
            }

            operation["responses"] = new JsonObject
            {
                ["200"] = new JsonObject
                {
                    ["description"] = "Done.",
                    ["content"] = endpoint.Answer == typeof(string)
                        ? Content("text/plain", new JsonObject { ["type"] = "string" })
                        : Content("application/json", Reference(schemas, endpoint.Answer)),
                },
                ["default"] = new JsonObject { ["description"] = "Not done.", ["content"] = Content("application/json", Reference(schemas, typeof(ErrorDocument))) },
            };
            paths["/v1/" + endpoint.Path] = new JsonObject { [endpoint.Method.ToLowerInvariant()] = operation };
        }

        return new JsonObject
        {
            ["openapi"] = "3.1.0",
            ["info"] = new JsonObject
            {
                ["title"] = "Sojourn control API",
                ["version"] = "1",
                ["description"] = "Over the node's Unix socket. Every answer names its schema; members may be added, none is renamed or removed without a new schema number.",
            },
            ["paths"] = paths,
            ["components"] = new JsonObject { ["schemas"] = schemas },
        }.ToJsonString(ControlJson.Indented);
    }

    private static JsonObject Reference(JsonObject schemas, Type type)
    {
        if (!schemas.ContainsKey(type.Name))
        {
            // Schemas refer to themselves by place ("#/..."), which must start at the document's root.
            schemas[type.Name] = null;
            schemas[type.Name] = Rebase(ControlJson.Options.GetJsonSchemaAsNode(type, Exporter), $"#/components/schemas/{type.Name}");
        }

        return new JsonObject { ["$ref"] = $"#/components/schemas/{type.Name}" };
    }

    private static JsonNode Rebase(JsonNode schema, string root)
    {
        switch (schema)
        {
            case JsonObject members:
                foreach (var (name, member) in members.ToList())
                {
                    if (name == "$ref" && member is JsonValue reference && reference.GetValue<string>() is ['#', ..] place)
                    {
                        members[name] = root + place[1..];
                    }
                    else if (member is not null)
                    {
                        Rebase(member, root);
                    }
                }

                break;
            case JsonArray items:
                foreach (var item in items.OfType<JsonNode>())
                {
                    Rebase(item, root);
                }

                break;
        }

        return schema;
    }

    private static JsonObject Content(string type, JsonObject schema) => new() { [type] = new JsonObject { ["schema"] = schema } };
}
