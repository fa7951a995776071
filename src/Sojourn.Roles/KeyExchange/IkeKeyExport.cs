using System.Text;
using Sojourn.Engine;
using Sojourn.Engine.Ikev2;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.KeyExchange;

/// <summary>Appends the keys of IKE SAs to a Wireshark <c>ikev2_decryption_table</c> file, for laboratories.</summary>
public sealed class IkeKeyExport(string path, Action<EngineEvent> report) : IEffectPort
{
    public bool TryCarryOut(Effect effect)
    {
        if (effect is not IkeKeysDerived keys)
        {
            return false;
        }

        try
        {
            KeyFile.Append(path, WiresharkName(keys) ? keys.WiresharkLine() : $"# {keys.InitiatorSpi:x16} {keys.ResponderSpi:x16}: {keys.Suite} cannot be written in this format");
        }
        catch (IOException e)
        {
            report(new EngineEvent("ike.keys_not_exported", EventSeverity.Warning, e.Message));
        }

        return true;
    }

    /// <summary>One unknown name would make Wireshark drop the whole file.</summary>
    private static bool WiresharkName(IkeKeysDerived keys) => keys.Suite.Encryption is Wire.Ikev2.IkeEncryption.AesGcm16 or Wire.Ikev2.IkeEncryption.AesCbc;
}

/// <summary>Files that others must not read, appended to.</summary>
internal static class KeyFile
{
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Append(string path, string lines)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        using var file = new FileStream(path, new FileStreamOptions
        {
            Mode = FileMode.Append,
            Access = FileAccess.Write,
            Share = FileShare.ReadWrite,
            UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        });
        file.Write(Encoding.ASCII.GetBytes(lines + "\n"));
    }
}
