using System.Buffers.Binary;
using System.Net;
using System.Security.Cryptography;
using Sojourn.Engine;
using Sojourn.Storage;

namespace Sojourn.Benchmarks;

/// <summary>The subscribers of a run: everything about a user follows from their number and the run's seed.</summary>
internal sealed class Population(int count)
{
    public const uint MnAaaSpi = 0x200;
    public static readonly IPNetwork HomeNetwork = IPNetwork.Parse("10.128.0.0/12"), Company = IPNetwork.Parse("192.168.50.0/24");

    private const uint FirstHome = 0x0A800100;
    private readonly byte[] _seed = RandomNumberGenerator.GetBytes(32);

    public int Count => count;

    public static string Nai(int user) => $"user{user}@home.example";

    public static IPAddress HomeAddress(int user)
    {
        var octets = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(octets, FirstHome + (uint)user);
        return new IPAddress(octets);
    }

    /// <summary>Number of the user with a home address, -1 for any other.</summary>
    public int UserOf(uint home) => home - FirstHome < (uint)count ? (int)(home - FirstHome) : -1;

    public KeyMaterial Key(int user)
    {
        Span<byte> number = stackalloc byte[4];
        BinaryPrimitives.WriteInt32BigEndian(number, user);
        return new KeyMaterial(HMACSHA256.HashData(_seed, number));
    }

    /// <summary>One individual ESP profile to the company for each user, in the same database and by the same checks as <c>sojourn user add</c>.</summary>
    public void Provision(string databaseFile, CancellationToken cancellation)
    {
        using var database = Database.Open(databaseFile);
        var store = new SubscriberStore(database, TimeProvider.System, "benchmark");
        store.InOneTransaction(() =>
        {
            store.PutPartner("visited.example");
            store.Put(new CorrespondentGatewayRow(Company, IPAddress.Parse("10.0.5.2"), GatewayType.Static, "company"));
            for (var user = 0; user < count; user++)
            {
                cancellation.ThrowIfCancellationRequested();
                store.Put(new Subscriber(Nai(user), MnAaaSpi, Key(user), HomeAddress(user), null, Enabled: true));
                store.Put(new VpnInstance
                {
                    ProfileNumber = (uint)user + 1,
                    Nai = Nai(user),
                    UserSpecific = true,
                    Destination = Company,
                    UpClass = 5,
                    DownClass = 1,
                    SecurityType = SecurityType.Esp,
                    Algorithm = IpsecAlgorithm.Aes128Gcm16,
                });
            }
        });
    }
}
