using Microsoft.AspNetCore.Http;

namespace Sojourn.Host.Control;

/// <summary>A query parameter of an endpoint.</summary>
public sealed record Parameter(string Name, string Text, bool Required = false);

/// <summary>One operation of the control API. Routing, OpenAPI document and help are made from this.</summary>
/// <param name="Path">Behind <c>/v1/</c>.</param>
/// <param name="Body">Type of the request's JSON body; null when it has none.</param>
/// <param name="Answer">Type of the answer.</param>
/// <param name="Streams">The answer is one JSON object per line, without end.</param>
public sealed record Endpoint(
    string Method, string Path, string Text, Type? Body, Type Answer, Func<HttpContext, Task> Handle, IReadOnlyList<Parameter> Parameters, bool Streams = false);
