using Sojourn.Engine;
using Sojourn.Engine.Ikev2;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.KeyExchange;

/// <summary>Keys of a node's key exchange and of its child SAs in transport mode, for laboratories. Takes them also where nobody wants them written.</summary>
/// <param name="export">Null = nothing is written.</param>
internal sealed class KeyExportPort(KeyExportOptions? export, NodeServices services) : IEffectPort
{
    private readonly IkeKeyExport? _ike = export?.Ike is { } file ? new IkeKeyExport(file.FullPath, services.Report) : null;
    private readonly EspKeyExport? _esp = export is null ? null : new EspKeyExport(export.Esp.FullPath);

    public bool TryCarryOut(Effect effect)
    {
        switch (effect)
        {
            case IkeKeysDerived:
                _ike?.TryCarryOut(effect);
                return true;
            case ChildSaUp up:
                Write(up.Sa);
                return true;
            default:
                return false;
        }
    }

    private void Write(ChildSa child)
    {
        try
        {
            _esp?.WriteTransport(child);
        }
        catch (IOException e)
        {
            services.Report(new EngineEvent("ike.keys_not_exported", EventSeverity.Warning, e.Message));
        }
    }
}
