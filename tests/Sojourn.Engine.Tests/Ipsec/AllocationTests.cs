using Sojourn.Engine.Ipsec;
using Xunit;

namespace Sojourn.Engine.Tests.Ipsec;

public class AllocationTests
{
    [Theory]
    [MemberData(nameof(TunnelTests.Suites), MemberType = typeof(TunnelTests))]
    public void A_packet_in_steady_state_allocates_nothing(SecurityType type, IpsecAlgorithm algorithm)
    {
        var bench = new IpsecBench(random: SystemRandomSource.Instance);
        bench.Install(IpsecBench.Path(type: type, algorithm: algorithm), IpsecBench.Path("u2", 18, type, algorithm, spi: 0x2000, keySeed: 30));
        var inner = bench.FromHost(1200);
        var output = new byte[4096];
        var opened = new byte[4096];
        Carry(2000);
        var before = GC.GetAllocatedBytesForCurrentThread();
        Carry(1000);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Carry(int packets)
        {
            for (var i = 0; i < packets; i++)
            {
                var sent = bench.A.Outbound(inner, output, bench.Now);
                var received = bench.B.Inbound(output.AsSpan(0, sent.Length), opened, bench.Now);
                if (received.Verdict != InboundVerdict.Deliver)
                {
                    throw new InvalidOperationException(received.Reason.ToString());
                }
            }
        }
    }
}
