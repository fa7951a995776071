using System.Globalization;
using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization;
using Sojourn.DataPath.Netlink;

namespace Sojourn.Benchmarks;

/// <summary>One stretch of set-ups with one responder.</summary>
internal sealed record KeyExchangeStretch(string Proof, string Responder, int Round, int Established, int Failed, double PerSecond, double CpuMilliseconds);

/// <summary>
/// IKE SA set-ups a second of our responder and of strongSwan's charon, in turns, under the same initiator: ours, in the process of
/// the benchmark. Each responder has a namespace and a veth pair of its own.
/// </summary>
internal static class KeyExchangeBenchmark
{
    private static readonly IPAddress s_ours = IPAddress.Parse("10.9.1.2"), s_charons = IPAddress.Parse("10.9.2.2");

    public static async Task<int> MainAsync(string[] args)
    {
        if (args is ["ike-responder", var proof, var folder])
        {
            return KeyExchangeResponder.Run(Enum.Parse<KeyExchangeProof>(proof), folder);
        }

        int Number(string flag, int otherwise) => Array.IndexOf(args, flag) is > 0 and var at && at + 1 < args.Length ? int.Parse(args[at + 1], NumberStyles.None, CultureInfo.InvariantCulture) : otherwise;
        var stretches = await RunAsync(Number("--setups", 2000), Number("--rounds", 3), Number("--window", 32));
        Print(stretches);
        if (Array.IndexOf(args, "--json") is > 0 and var json && json + 1 < args.Length)
        {
            await File.WriteAllTextAsync(args[json + 1], JsonSerializer.Serialize(stretches, KeyExchangeJson.Default.IReadOnlyListKeyExchangeStretch) + "\n");
        }

        return 0;
    }

    private static async Task<IReadOnlyList<KeyExchangeStretch>> RunAsync(int setUps, int rounds, int window)
    {
        var folder = Directory.CreateTempSubdirectory("sojourn-bench-ike-").FullName;
        using var hosts = new BenchmarkHosts("load", "own", "charon");
        var stretches = new List<KeyExchangeStretch>();
        try
        {
            hosts.Join("load", "own0", "own", "up0", ["10.9.1.1/24"], [$"{s_ours}/24"]);
            hosts.Join("load", "charon0", "charon", "up0", ["10.9.2.1/24"], [$"{s_charons}/24"]);
            KeyExchangeFiles.Write(folder);
            foreach (var proof in Enum.GetValues<KeyExchangeProof>())
            {
                var responders = new List<(KeyExchangeResponder Responder, IPAddress Load)> { (await KeyExchangeResponder.SojournAsync(hosts["own"], s_ours, proof, folder), IPAddress.Parse("10.9.1.1")) };
                if (KeyExchangeResponder.Missing is { } missing)
                {
                    Console.Error.WriteLine($"charon is left out: {missing}");
                }
                else
                {
                    responders.Add((await KeyExchangeResponder.CharonAsync(hosts["charon"], s_charons, proof, folder), IPAddress.Parse("10.9.2.1")));
                }

                try
                {
                    // Round 0 warms both up and is not shown.
                    for (var round = 0; round <= rounds; round++)
                    {
                        foreach (var (responder, own) in responders)
                        {
                            var load = new KeyExchangeLoad(folder, proof, own, responder, window);
                            var before = responder.CpuMilliseconds;
                            var took = await load.RunAsync(hosts["load"], setUps);
                            var cpu = responder.CpuMilliseconds - before;
                            if (round > 0)
                            {
                                stretches.Add(new KeyExchangeStretch(proof.ToString(), responder.Name, round, load.Established, load.Failed, load.Established / took.TotalSeconds, cpu / (double)Math.Max(1, load.Established)));
                            }
                        }
                    }
                }
                finally
                {
                    responders.ForEach(r => r.Responder.Dispose());
                }
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }

        return stretches;
    }

    private static void Print(IReadOnlyList<KeyExchangeStretch> stretches)
    {
        Console.WriteLine("proof  responder          set-ups/s (median)  CPU each, ms  failed");
        foreach (var group in stretches.GroupBy(s => (s.Proof, s.Responder)))
        {
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{group.Key.Proof,-6} {group.Key.Responder,-18} {Statistics.Median(group.Select(s => s.PerSecond)),18:F0}  {Statistics.Median(group.Select(s => s.CpuMilliseconds)),12:F3}  {group.Sum(s => s.Failed),6}"));
        }

        foreach (var proof in stretches.GroupBy(s => s.Proof))
        {
            var ratios = proof.GroupBy(s => s.Round).Where(r => r.Count() == 2).Select(r => r.First(s => s.Responder == "sojourn").PerSecond / r.First(s => s.Responder != "sojourn").PerSecond).ToList();
            if (ratios.Count > 0)
            {
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{proof.Key,-6} ratio of the rates, median of the rounds: {Statistics.Median(ratios):F2}"));
            }
        }
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, WriteIndented = true)]
[JsonSerializable(typeof(IReadOnlyList<KeyExchangeStretch>))]
internal sealed partial class KeyExchangeJson : JsonSerializerContext;
