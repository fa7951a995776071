using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Text;
using Sojourn.Engine.MobileIpv4;

namespace Sojourn.Engine.Gateway;

/// <summary>One profile a home agent has set here for one mobile node.</summary>
/// <param name="Correspondent">Address the update was sent to: the correspondent host, or the gateway itself for a prefix (R20).</param>
/// <param name="Lifetime">Granted.</param>
/// <param name="Identification">Of the update that set it; a BR repeats it.</param>
/// <param name="Requested">The supplier has been asked for a new update.</param>
public sealed record CorrespondentBinding(
    VpnProfile Profile, IPAddress Correspondent, TimeSpan Lifetime, DateTimeOffset Expires, ulong Identification, bool Requested)
{
    public DateTimeOffset RequestAt(double threshold) => Expires - (Lifetime * threshold);
}

/// <summary>All bindings of one mobile node here; they come from one home agent.</summary>
public sealed record MobileNodeBindings
{
    public required IPAddress HomeAddress { get; init; }

    public required IPAddress Supplier { get; init; }

    public string? Nai { get; init; }

    /// <summary>Replay check, saved with the bindings.</summary>
    public required IdentificationGuard Guard { get; init; }

    /// <summary>By profile number.</summary>
    public required IReadOnlyDictionary<uint, CorrespondentBinding> Bindings { get; init; }

    /// <summary>The last update accepted and its answer, for a home agent that missed the answer.</summary>
    internal (ulong Identification, ReadOnlyMemory<byte> Update, ReadOnlyMemory<byte> Answer)? LastAnswer { get; init; }

    public string Session => HomeAddress.ToString();

    public MobileNodeBindings With(CorrespondentBinding binding) => this with
    {
        Bindings = new Dictionary<uint, CorrespondentBinding>(Bindings) { [binding.Profile.ProfileNumber] = binding },
    };

    public MobileNodeBindings Without(IReadOnlyCollection<uint> profileNumbers) => this with
    {
        Bindings = Bindings.Where(b => !profileNumbers.Contains(b.Key)).ToDictionary(),
    };
}

/// <summary>
/// Bindings as they are saved. Profiles stand in the form they have in a binding update, their keys wrapped under the
/// contract's wrapping key, so that a record is worthless without the configuration.
/// </summary>
internal static class BindingRecord
{
    private const byte Version = 1;

    public static byte[] Write(MobileNodeBindings bindings, IVpnProfileEncoding encoding, KeyMaterial wrappingKey)
    {
        using var stream = new MemoryStream();
        using var writer = new BinaryWriter(stream, Encoding.UTF8);
        writer.Write(Version);
        Write(writer, bindings.HomeAddress);
        Write(writer, bindings.Supplier);
        writer.Write(bindings.Nai ?? "");
        writer.Write(bindings.Guard.LastAccepted ?? 0);
        writer.Write((ushort)bindings.Bindings.Count);
        foreach (var binding in bindings.Bindings.Values)
        {
            Write(writer, binding.Correspondent);
            writer.Write(binding.Lifetime.Ticks);
            writer.Write(binding.Expires.UtcTicks);
            writer.Write(binding.Identification);
            writer.Write(binding.Requested);
            var profile = encoding.Encode(binding.Profile, wrappingKey);
            writer.Write(profile.Length);
            writer.Write(profile);
        }

        writer.Flush();
        return stream.ToArray();
    }

    /// <summary>False when the record is of another version, damaged, or wrapped under another key.</summary>
    public static bool TryRead(
        ReadOnlyMemory<byte> record, IVpnProfileEncoding encoding, Func<IPAddress, KeyMaterial?> wrappingKey, [NotNullWhen(true)] out MobileNodeBindings? bindings)
    {
        bindings = null;
        try
        {
            using var reader = new BinaryReader(new MemoryStream(record.ToArray()), Encoding.UTF8);
            if (reader.ReadByte() != Version)
            {
                return false;
            }

            var home = ReadAddress(reader);
            var supplier = ReadAddress(reader);
            var nai = reader.ReadString();
            var last = reader.ReadUInt64();
            if (wrappingKey(supplier) is not { } key)
            {
                return false;
            }

            var held = new Dictionary<uint, CorrespondentBinding>();
            for (var left = reader.ReadUInt16(); left > 0; left--)
            {
                var correspondent = ReadAddress(reader);
                var lifetime = new TimeSpan(reader.ReadInt64());
                var expires = new DateTimeOffset(reader.ReadInt64(), TimeSpan.Zero);
                var identification = reader.ReadUInt64();
                var requested = reader.ReadBoolean();
                if (lifetime <= TimeSpan.Zero || lifetime > TimeSpan.FromSeconds(ushort.MaxValue))
                {
                    return false;
                }

                var length = reader.ReadInt32();
                if (length < 0 || length > reader.BaseStream.Length - reader.BaseStream.Position || !encoding.TryDecode(reader.ReadBytes(length), key, out var profile, out _))
                {
                    return false;
                }

                held[profile.ProfileNumber] = new CorrespondentBinding(profile, correspondent, lifetime, expires, identification, requested);
            }

            bindings = new MobileNodeBindings
            {
                HomeAddress = home,
                Supplier = supplier,
                Nai = nai.Length == 0 ? null : nai,
                Guard = new IdentificationGuard(last == 0 ? null : last),
                Bindings = held,
            };
            return true;
        }
        catch (Exception damaged) when (damaged is IOException or ArgumentException or FormatException)
        {
            return false;
        }
    }

    private static void Write(BinaryWriter writer, IPAddress address)
    {
        var octets = address.GetAddressBytes();
        writer.Write((byte)octets.Length);
        writer.Write(octets);
    }

    private static IPAddress ReadAddress(BinaryReader reader) => new(reader.ReadBytes(reader.ReadByte()));
}
