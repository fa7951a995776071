using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Sojourn.Roles.Hosting;

/// <summary>Web servers inside a node: without configuration, logs and signal handlers of the framework's own.</summary>
public static class NodeWebHost
{
    public static WebApplicationBuilder CreateBuilder()
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = "sojourn" });
        builder.Logging.ClearProviders();
        builder.Services.AddSingleton<IHostLifetime, Unsignalled>();
        return builder;
    }

    /// <summary>Signals are for the node, which stops its servers; the framework's own answer to them stops a server that has not started, and the node would wait for it.</summary>
    private sealed class Unsignalled : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
