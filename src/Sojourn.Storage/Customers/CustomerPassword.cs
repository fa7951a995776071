using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Sojourn.Storage.Customers;

/// <summary>
/// Passwords of the customer page, kept as salted PBKDF2 with HMAC-SHA-512 (RFC 8018 5.2). Written as
/// <c>pbkdf2-sha512:ITERATIONS:SALT:HASH</c>, salt and hash in base64. The octets hashed are the password's UTF-8.
/// </summary>
public static class CustomerPassword
{
    public const int Shortest = 10;
    public const int Longest = 128;

    private const string Scheme = "pbkdf2-sha512";
    private const int Iterations = 210_000;
    private const int MostIterations = 10_000_000;
    private const int SaltLength = 16;
    private const int HashLength = 32;

    /// <summary>What an account without password is compared with, so that it takes as long as any other.</summary>
    private static readonly Encoded Nobody = new(Iterations, new byte[SaltLength], new byte[HashLength]);

    /// <summary>Null when the password may be used, else why not.</summary>
    public static string? Fault(string password) =>
        password.Length < Shortest ? $"has {password.Length} characters; allowed: {Shortest} to {Longest}"
        : password.Length > Longest ? $"has more than {Longest} characters; allowed: {Shortest} to {Longest}"
        : password.Any(char.IsControl) ? "contains control characters"
        : password.Distinct().Count() < 4 ? "repeats fewer than four characters"
        : null;

    /// <summary>The form to be stored, under a fresh salt.</summary>
    public static string Hash(string password)
    {
        var salt = RandomNumberGenerator.GetBytes(SaltLength);
        return string.Create(CultureInfo.InvariantCulture, $"{Scheme}:{Iterations}:{Convert.ToBase64String(salt)}:{Convert.ToBase64String(Derive(password, salt, Iterations, HashLength))}");
    }

    /// <summary>
    /// Whether <paramref name="password"/> is the one behind <paramref name="stored"/>. Takes as long for null as for a
    /// stored hash, so that the time of an answer does not tell who has an account.
    /// </summary>
    public static bool Verify(string password, string? stored)
    {
        var encoded = stored is null ? null : Parse(stored);
        var against = encoded ?? Nobody;
        var derived = Derive(password.Length > Longest ? "" : password, against.Salt, against.Iterations, against.Hash.Length);
        var same = CryptographicOperations.FixedTimeEquals(derived, against.Hash);
        CryptographicOperations.ZeroMemory(derived);
        return same && encoded is not null && password.Length <= Longest;
    }

    /// <summary>Whether a text is a stored form that <see cref="Verify"/> understands.</summary>
    public static bool IsHash(string text) => Parse(text) is not null;

    private static Encoded? Parse(string text)
    {
        var parts = text.Split(':');
        if (parts.Length != 4 || parts[0] != Scheme
            || !int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out var iterations) || iterations is < 1000 or > MostIterations)
        {
            return null;
        }

        try
        {
            var encoded = new Encoded(iterations, Convert.FromBase64String(parts[2]), Convert.FromBase64String(parts[3]));
            return encoded.Salt.Length >= 8 && encoded.Hash.Length is >= 16 and <= 64 ? encoded : null;
        }
        catch (FormatException)
        {
            return null;
        }
    }

    private static byte[] Derive(string password, byte[] salt, int iterations, int length)
    {
        var octets = Encoding.UTF8.GetBytes(password);
        var derived = Rfc2898DeriveBytes.Pbkdf2(octets, salt, iterations, HashAlgorithmName.SHA512, length);
        CryptographicOperations.ZeroMemory(octets);
        return derived;
    }

    private sealed record Encoded(int Iterations, byte[] Salt, byte[] Hash);
}
