using System.Text;
using Sojourn.Engine;
using Sojourn.Roles.Configuration;

namespace Sojourn.Roles.Enrolment;

/// <summary>A secret in a text file that is closed to others.</summary>
internal static class SecretLine
{
    /// <summary>First line of the file.</summary>
    /// <exception cref="InvalidDataException">The file is open to others, or empty.</exception>
    public static KeyMaterial Read(FileReference file) => SecretFile.CheckPrivate(file.FullPath) is { } fault ? throw new InvalidDataException(fault)
        : File.ReadLines(file.FullPath).FirstOrDefault() is { Length: > 0 } line ? new KeyMaterial(Encoding.UTF8.GetBytes(line)) : throw new InvalidDataException($"'{file.FullPath}' is empty");
}
