using System.Security.Cryptography;
using System.Text;
using Sojourn.Engine;

namespace Sojourn.Roles.Configuration;

/// <summary>A secret in a file of its own: hex or base64 text, closed to group and others.</summary>
public static class SecretFile
{
    public const int MaximumOctets = 4096;

    private const UnixFileMode OthersMask =
        UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.GroupExecute
        | UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.OtherExecute;

    /// <summary>Null when the file exists and only its owner can open it, else what is wrong.</summary>
    public static string? CheckPrivate(string path)
    {
        try
        {
            return !File.Exists(path) ? $"no file '{path}'"
                : (File.GetUnixFileMode(path) & OthersMask) != 0 ? $"'{path}' is open to group or others"
                : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return $"cannot look at '{path}': {e.Message}";
        }
    }

    /// <summary>Reads the secret. <paramref name="reason"/> never quotes the content.</summary>
    public static KeyMaterial? TryRead(string path, out string reason)
    {
        reason = CheckPrivate(path) ?? "";
        if (reason.Length > 0)
        {
            return null;
        }

        var octets = Array.Empty<byte>();
        try
        {
            if (new FileInfo(path).Length > 3 * MaximumOctets)
            {
                reason = $"'{path}' is longer than {MaximumOctets} octets of secret";
                return null;
            }

            var text = File.ReadAllText(path, Encoding.UTF8).Trim();
            if (text.Length == 0)
            {
                reason = $"'{path}' is empty";
                return null;
            }

            if (Decode(text) is not { } decoded)
            {
                reason = $"'{path}' is neither hexadecimal nor base64";
                return null;
            }

            octets = decoded;
            return new KeyMaterial(octets);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            reason = $"cannot read '{path}': {e.Message}";
            return null;
        }
        finally
        {
            CryptographicOperations.ZeroMemory(octets);
        }
    }

    /// <summary>Reads a secret that <c>check</c> has already seen.</summary>
    /// <exception cref="InvalidDataException">It has changed since and cannot be used.</exception>
    public static KeyMaterial Read(FileReference file) =>
        TryRead(file.FullPath, out var reason) ?? throw new InvalidDataException(reason);

    /// <summary>Hexadecimal wins where both readings are possible; white space does not count.</summary>
    private static byte[]? Decode(string text)
    {
        var compact = string.Concat(text.Where(c => !char.IsWhiteSpace(c)));
        if (compact.StartsWith("0x", StringComparison.OrdinalIgnoreCase))
        {
            compact = compact[2..];
        }

        if (compact.Length % 2 == 0 && compact.All(char.IsAsciiHexDigit))
        {
            return Convert.FromHexString(compact);
        }

        var buffer = new byte[compact.Length];
        return Convert.TryFromBase64String(compact, buffer, out var written) && written > 0 ? buffer[..written] : null;
    }
}
